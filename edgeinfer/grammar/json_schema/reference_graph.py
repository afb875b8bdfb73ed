"""Finds cycles of references among definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer.grammar.json_schema.core import Core


class ReferenceGraph:
    """The definitions of a normalized schema and the references between them."""

    def __init__(self, definitions: Mapping[str, Core]) -> None:
        self._definitions = definitions
        self._reaches_cycle: dict[str, bool] = {}
        self._references: dict[str, list[str]] = {}

    def find_cycle(self, edges: Mapping[str, set[str]]) -> str | None:
        """Return a definition on a cycle of `edges`, or None."""
        done: set[str] = set()
        for start in self._definitions:
            ancestors: dict[str, None] = {}
            stack = [(start, False)]
            while stack:
                name, is_finished = stack.pop()
                if is_finished:
                    ancestors.popitem()
                    done.add(name)
                elif name in ancestors:
                    return name
                elif name not in done:
                    ancestors[name] = None
                    stack.append((name, True))
                    stack += [(target, False) for target in edges.get(name, ())]
        return None

    def reaches_cycle(self, name: str) -> bool:
        """Tell if a definition refers, directly or not, to one that refers to itself."""
        if name not in self._reaches_cycle:
            reachable = self._reachable(name)
            self._reaches_cycle[name] = name in reachable or any(
                target in self._reachable(target) for target in reachable
            )
        return self._reaches_cycle[name]

    def _reachable(self, name: str) -> set[str]:
        reachable: set[str] = set()
        stack = list(self._direct_references(name))
        while stack:
            target = stack.pop()
            if target not in reachable:
                reachable.add(target)
                stack += self._direct_references(target)
        return reachable

    def _direct_references(self, name: str) -> list[str]:
        if name not in self._references:
            self._references[name] = references_in(self._definitions[name])
        return self._references[name]


def ref_name(reference: str) -> str:
    """Return the definition that a core schema's `$ref` names."""
    return reference.rpartition("/")[2]


def references_in(core: Core) -> list[str]:
    """Return the names of all definitions that a schema refers to."""
    names = []
    stack: list[Any] = [core]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            names += [ref_name(node["$ref"])] if isinstance(node.get("$ref"), str) else []
            stack += [value for keyword, value in node.items() if keyword != "enum"]
        elif isinstance(node, list):
            stack += node
    return names
