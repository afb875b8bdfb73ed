"""Closes what plain schemas leave open by accident: unlisted properties and unbounded integers.

Schemas generated from classes list an object's properties and seldom say that there are no others. Taken
literally, that lets a small model invent properties or digits of an integer without end. Authors of such schemas
miss neither; those who want more properties write `"additionalProperties": true`.
"""

from __future__ import annotations

import re
from typing import Any

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader represents exactly: RFC 7493, 2.2."""

ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$id",
     "$schema", "$defs", "definitions", "format")
)  # fmt: skip
"""Keywords that do not affect how a plain schema is closed."""

OBJECT = ANNOTATIONS | {"type", "properties", "required"}
ARRAY = ANNOTATIONS | {"type", "items", "minItems", "maxItems"}
DEFINITIONS = ("$defs", "definitions")

REFERENCE = re.compile(r"#(/(\$defs|definitions)/[^/]+)?")
"""To the whole schema or to a definition. Any other could combine something with a schema that looks plain."""


def make_strict(schema: Any) -> Any:
    """Return the schema with plain objects closed and plain integers bounded; the argument is unchanged.

    Only schemas that no other keyword applies to are plain, so nothing can require what was closed.
    """
    try:
        return _StrictnessPass(schema).schema
    except RecursionError:  # too deep for the compiler as well, which reports it
        return schema


class _StrictnessPass:
    def __init__(self, root: Any) -> None:
        self._sole_refs: set[str] = set()  # references that are the whole schema of a value
        self._combined_refs: set[str] = set()  # references with siblings, or below a combinator
        self._classify_references(root)
        self._closable = self._sole_refs - self._combined_refs
        direct = all(REFERENCE.fullmatch(reference) for reference in self._sole_refs | self._combined_refs)
        self.schema = self._close(root, is_root=True) if direct else root

    def _classify_references(self, root: Any) -> None:
        stack: list[tuple[Any, bool]] = [(root, True)]
        while stack:
            node, is_sole = stack.pop()
            if isinstance(node, list):
                stack += [(item, is_sole) for item in node]
            if not isinstance(node, dict):
                continue
            reference = node.get("$ref", node.get("$dynamicRef"))
            if isinstance(reference, str):
                alone = is_sole and node.keys() <= ANNOTATIONS | {"$ref"}
                (self._sole_refs if alone else self._combined_refs).add(reference)
            children_sole = is_sole and _is_plain(node)
            for keyword, value in node.items():
                if keyword in ("properties", *DEFINITIONS) and isinstance(value, dict):
                    stack += [(item, children_sole or keyword in DEFINITIONS) for item in value.values()]
                elif keyword in ("items", "anyOf"):
                    stack.append((value, children_sole))
                else:
                    stack.append((value, False))

    def _close(self, node: Any, *, is_root: bool = False) -> Any:
        """Close a schema that is the whole schema of a value."""
        if not isinstance(node, dict) or not _is_plain(node):
            return self._close_definitions(node) if is_root else node
        closed = dict(node)
        if isinstance(node.get("properties"), dict):
            closed["properties"] = {name: self._close(schema) for name, schema in node["properties"].items()}
            if _lists_properties(node) and not (is_root and "#" in self._combined_refs):
                closed["additionalProperties"] = False
        if "items" in node:
            closed["items"] = self._close(node["items"])
        if isinstance(node.get("anyOf"), list):
            closed["anyOf"] = [self._close(schema) for schema in node["anyOf"]]
        if node.get("type") == "integer" and node.keys() <= ANNOTATIONS | {"type", "minimum", "maximum"}:
            _bound(closed)
        return self._close_definitions(closed) if is_root else closed

    def _close_definitions(self, node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        closed = dict(node)
        for keyword in DEFINITIONS:
            if isinstance(node.get(keyword), dict):
                closed[keyword] = {
                    name: self._close(schema) if f"#/{keyword}/{name}" in self._closable else schema
                    for name, schema in node[keyword].items()
                }
        return closed


def _is_plain(node: dict[str, Any]) -> bool:
    keywords = set(node)
    if node.get("additionalProperties") is False:  # closed already
        keywords.remove("additionalProperties")
    return (
        keywords <= OBJECT
        or keywords <= ARRAY
        or keywords <= ANNOTATIONS | {"anyOf"}
        or keywords <= ANNOTATIONS | {"type", "minimum", "maximum"}
    )


def _lists_properties(node: dict[str, Any]) -> bool:
    """Tell if a schema lists properties, with all that it requires among them."""
    required, properties = node.get("required", []), node["properties"]
    return (
        bool(properties)
        and isinstance(required, list)
        and all(isinstance(name, str) and name in properties for name in required)
    )


def _bound(schema: dict[str, Any]) -> None:
    low, high = schema.get("minimum", -MAX_SAFE_INTEGER), schema.get("maximum", MAX_SAFE_INTEGER)
    if all(isinstance(bound, int | float) and abs(bound) <= MAX_SAFE_INTEGER for bound in (low, high)):
        schema["minimum"], schema["maximum"] = low, high
