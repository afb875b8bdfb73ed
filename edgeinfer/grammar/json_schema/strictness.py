"""What a schema leaves open because nobody thought of it.

Schemas made of classes list an object's properties and seldom say that there are no others. Taken at its word
that lets a small model add properties of its own invention without end, or digits to an integer. Nobody who
writes such a schema misses either; who wants them says `"additionalProperties": true`.
"""

from __future__ import annotations

import re
from typing import Any

SAFE = 2**53 - 1
"""The largest integer that every reader of JSON takes for what it is: RFC 7493, 2.2."""

REMARKS = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$id",
     "$schema", "$defs", "definitions", "format")
)  # fmt: skip
"""Keywords that change nothing about what a closed schema means."""

OBJECT = REMARKS | {"type", "properties", "required"}
ARRAY = REMARKS | {"type", "items", "minItems", "maxItems"}
DEFINITIONS = ("$defs", "definitions")

REFERENCE = re.compile(r"#(/(\$defs|definitions)/[^/]+)?")
"""To the whole schema, or to a definition; one to anything else could bear upon what looks plain."""


def closed(schema: Any) -> Any:
    """The schema, narrower where it is plain: objects closed that list their properties, integers bounded.

    Plain are only schemas that nothing else bears upon, so that no other keyword could ask for what was closed.
    The argument is not changed.
    """
    try:
        return _Closing(schema).schema
    except RecursionError:  # too deep for anybody, as will be said elsewhere
        return schema


class _Closing:
    def __init__(self, root: Any) -> None:
        self._plain: set[str] = set()
        self._beside: set[str] = set()
        self._survey(root)
        self._definitions = self._plain - self._beside
        direct = all(REFERENCE.fullmatch(reference) for reference in self._plain | self._beside)
        self.schema = self._close(root, root=True) if direct else root

    def _survey(self, node: Any) -> None:
        """Which definitions are only referred to as the whole of a value's schema."""
        todo: list[tuple[Any, bool]] = [(node, True)]
        while todo:
            one, plain = todo.pop()
            if isinstance(one, list):
                todo += [(item, plain) for item in one]
            if not isinstance(one, dict):
                continue
            reference = one.get("$ref", one.get("$dynamicRef"))
            if isinstance(reference, str):
                alone = plain and one.keys() <= REMARKS | {"$ref"}
                (self._plain if alone else self._beside).add(reference)
            known = plain and _is_plain(one)
            for keyword, value in one.items():
                if keyword in ("properties", *DEFINITIONS) and isinstance(value, dict):
                    todo += [(item, known or keyword in DEFINITIONS) for item in value.values()]
                elif keyword in ("items", "anyOf"):
                    todo.append((value, known))
                else:
                    todo.append((value, False))

    def _close(self, node: Any, *, root: bool = False) -> Any:
        """A schema that is the whole of a value's."""
        if not isinstance(node, dict) or not _is_plain(node):
            return self._definitions_closed(node) if root else node
        found = dict(node)
        if isinstance(node.get("properties"), dict):
            found["properties"] = {name: self._close(one) for name, one in node["properties"].items()}
            if _listed(node) and not (root and "#" in self._beside):
                found["additionalProperties"] = False
        if "items" in node:
            found["items"] = self._close(node["items"])
        if isinstance(node.get("anyOf"), list):
            found["anyOf"] = [self._close(one) for one in node["anyOf"]]
        if node.get("type") == "integer" and node.keys() <= REMARKS | {"type", "minimum", "maximum"}:
            _bound(found)
        return self._definitions_closed(found) if root else found

    def _definitions_closed(self, node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        found = dict(node)
        for keyword in DEFINITIONS:
            if isinstance(node.get(keyword), dict):
                found[keyword] = {
                    name: self._close(one) if f"#/{keyword}/{name}" in self._definitions else one
                    for name, one in node[keyword].items()
                }
        return found


def _is_plain(node: dict[str, Any]) -> bool:
    keywords = set(node)
    if node.get("additionalProperties") is False:  # closed already
        keywords.remove("additionalProperties")
    return (
        keywords <= OBJECT
        or keywords <= ARRAY
        or keywords <= REMARKS | {"anyOf"}
        or keywords <= REMARKS | {"type", "minimum", "maximum"}
    )


def _listed(node: dict[str, Any]) -> bool:
    """Its properties are listed, all those among them that it requires."""
    required, properties = node.get("required", []), node["properties"]
    return (
        bool(properties)
        and isinstance(required, list)
        and all(isinstance(name, str) and name in properties for name in required)
    )


def _bound(schema: dict[str, Any]) -> None:
    least, most = schema.get("minimum", -SAFE), schema.get("maximum", SAFE)
    if all(isinstance(bound, int | float) and abs(bound) <= SAFE for bound in (least, most)):
        schema["minimum"], schema["maximum"] = least, most
