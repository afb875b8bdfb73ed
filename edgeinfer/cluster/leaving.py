"""Takes a node out of its cluster: its replica ends its answers, and gets no others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import ModuleType

from edgeinfer.cluster.deployment import FLEET
from edgeinfer.cluster.group import ReplicaLost
from edgeinfer.cluster.messages import to_status
from edgeinfer.cluster.nodes import node_id

PATIENCE = 90.0
"""Seconds that a node has to end its answers; another one continues those that take longer."""

PAUSE = 0.5


def leave(ray: ModuleType, name: str) -> None:
    """Let the node of that name finish its answers; `ray` is connected to the cluster."""
    node = node_id(ray.nodes(), name)
    if node is None:
        return
    _drain(ray, node)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and node in asyncio.run(_with_replicas()):
        time.sleep(PAUSE)


def _drain(ray: ModuleType, node: str) -> None:
    """Mark a node as leaving, as `ray drain-node` does."""
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    GcsClient(address=ray.get_runtime_context().gcs_address).drain_node(
        node,
        autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
        "it leaves the cluster",
        int((time.time() + PATIENCE) * 1e3),
    )


async def _with_replicas() -> set[str]:
    """The ids of nodes that have a replica."""
    from edgeinfer.cluster.serve_group import serve_groups

    found = set()
    for group in await serve_groups(FLEET):
        with contextlib.suppress(ReplicaLost):  # none is left
            found |= {to_status.decode(reply).source.node_id for reply in await group.statuses()}
    return found
