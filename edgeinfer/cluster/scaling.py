"""Decides how many replicas a class of nodes has; Ray Serve's controller runs it.

Ray Serve pickles this module by value, so what cannot be pickled is made where it is needed.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import ray
from ray._raylet import GcsClient

from edgeinfer.cluster.nodes import nodes_with

Replicas = Literal["all", "auto"] | int
"""One on each node, as many as the requests need, or a number."""

WAITING = "waiting"
"""The metric of requests that wait in the queue of an ingress."""


class ReplicasPerNode:
    """An autoscaling policy: never more replicas than nodes that stay."""

    def __init__(self, label: str, value: str, replicas: Replicas = "all", target: float = 2.0) -> None:
        """For the nodes whose `label` has this value. `target`: requests for each replica, with "auto"."""
        self._label = label
        self._value = value
        self._replicas = replicas
        self._target = target

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        client = GcsClient(address=ray.get_runtime_context().gcs_address)
        nodes = len(nodes_with(self._label, self._value, ray.nodes(), client.get_draining_nodes()))
        return min(nodes, self._wanted(context, nodes)), {}

    def _wanted(self, context: Any, nodes: int) -> int:
        if self._replicas == "all":
            return nodes
        if isinstance(self._replicas, int):
            return self._replicas
        waiting: float = max((context.aggregated_metrics or {}).get(WAITING, {}).values(), default=0.0)
        requests: float = context.total_num_requests + waiting
        return max(1, math.ceil(requests / self._target))
