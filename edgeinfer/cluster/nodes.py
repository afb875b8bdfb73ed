"""The nodes of a cluster, as Ray lists them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from edgeinfer.cluster.labels import NODE

NodeInfo = dict[str, Any]
"""A node in `ray.nodes()`."""


def label(node: NodeInfo, name: str) -> str:
    """A label of a node; "" if it does not have it."""
    return str((node.get("Labels") or {}).get(name, ""))


def nodes_with(
    name: str, value: str, nodes: Sequence[NodeInfo], leaving: Collection[str] = ()
) -> list[NodeInfo]:
    """Those of `nodes` that are alive, have the label `name` with this value, and stay; `leaving` are ids."""
    return [
        node
        for node in nodes
        if node.get("Alive") and label(node, name) == value and node.get("NodeID") not in leaving
    ]


def node_id(nodes: Sequence[NodeInfo], name: str) -> str | None:
    """Ray's id of the node that we have given this name; None if it is not alive."""
    return next((n["NodeID"] for n in nodes if n.get("Alive") and label(n, NODE) == name), None)
