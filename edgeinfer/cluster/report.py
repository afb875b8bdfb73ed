"""What `edgeinfer cluster status` shows: the nodes, and what each has loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import msgspec

from edgeinfer.cluster.deployment import FLEET
from edgeinfer.cluster.group import ReplicaLost
from edgeinfer.cluster.labels import CLASS, INGRESS
from edgeinfer.cluster.messages import ReplicaStatus, to_status
from edgeinfer.cluster.nodes import NodeInfo, label
from edgeinfer.cluster.serve_group import serve_groups


class NodeReport(msgspec.Struct, frozen=True):
    """A machine of the cluster."""

    name: str
    address: str
    hardware_class: str
    ingress: bool
    alive: bool


class ClusterReport(msgspec.Struct, frozen=True):
    """The whole cluster."""

    nodes: list[NodeReport]
    replicas: list[ReplicaStatus]

    def lines(self) -> Iterator[str]:
        for node in self.nodes:
            state = "" if node.alive else "  gone"
            ingress = "  listens" if node.ingress else ""
            yield f"{node.name}  {node.address}  {node.hardware_class}{ingress}{state}"
        for replica in self.replicas:
            for model in replica.models:
                yield (
                    f"{replica.source.node}  {model.name}  {model.state}  "
                    f"{model.description}  ctx {model.ctx}  parallel {model.parallel}"
                )


async def report(nodes: Sequence[NodeInfo]) -> ClusterReport:
    """The report of the cluster that this process is connected to; `nodes` are those of `ray.nodes()`."""
    replicas: list[ReplicaStatus] = []
    for group in await serve_groups(FLEET):
        with contextlib.suppress(ReplicaLost):  # none runs yet
            replicas += map(to_status.decode, await group.statuses())
    return ClusterReport([_node(node) for node in nodes], replicas)


def _node(node: NodeInfo) -> NodeReport:
    return NodeReport(
        node.get("NodeManagerHostname", ""),
        node.get("NodeManagerAddress", ""),
        label(node, CLASS),
        bool(label(node, INGRESS)),
        bool(node.get("Alive")),
    )
