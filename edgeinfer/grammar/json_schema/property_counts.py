"""Normalizes minProperties and maxProperties, as choices of the optional properties that are present."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

from edgeinfer.grammar.json_schema.core import Core, all_of
from edgeinfer.grammar.json_schema.schema_node import SchemaNode

MAX_CHOICES = 32
"""Choices of optional properties for minProperties or maxProperties."""


def normalize_property_counts(
    node: SchemaNode, named: dict[str, Core], patterns: dict[str, Core], others: Core, required: list[str]
) -> None:
    """Enforce minProperties and maxProperties of an object whose other keywords are normalized."""
    low, high = node.get_count("minProperties", 0) or 0, node.get_count("maxProperties")
    optional = [name for name, schema in named.items() if schema is not False and name not in required]
    is_closed = others is False and not any(schema is not False for schema in patterns.values())
    min_optional = max(low - len(required), 0)
    max_optional = None if high is None else high - len(required)
    if max_optional is not None and max_optional < 0:
        node.local["maxProperties"] = high  # llguidance reports the contradiction
        return
    if not optional:
        _count_free_properties(node, min_optional, low, high)
        return
    if min_optional:
        _require_optional(node, optional, min_optional, is_closed)
    if max_optional is not None and not (is_closed and max_optional >= len(optional)):
        _limit_optional(node, named, optional, min_optional, max_optional, is_closed)


def _count_free_properties(node: SchemaNode, min_optional: int, low: int, high: int | None) -> None:
    """Leave the counting to llguidance: all listed properties are required, or none is listed."""
    if low:
        node.local["minProperties"] = low
    if high is not None:
        node.local["maxProperties"] = high
    if min_optional > 1:
        node.mark_unenforced("minProperties")  # llguidance counts a name that is written twice as two


def _require_optional(node: SchemaNode, optional: list[str], min_optional: int, is_closed: bool) -> None:
    needs_others = not is_closed and min_optional > len(optional)
    if needs_others or comb(len(optional), min_optional) > MAX_CHOICES:
        node.mark_unenforced("minProperties")
        return
    if not is_closed:
        node.mark_narrowed()
    options: list[Core] = [
        object_schema(node, required=present) for present in combinations(optional, min_optional)
    ]
    node.require_any(options, "minProperties")


def _limit_optional(
    node: SchemaNode,
    named: dict[str, Core],
    optional: list[str],
    min_optional: int,
    max_optional: int,
    is_closed: bool,
) -> None:
    if sum(comb(len(optional), n) for n in range(max_optional + 1)) > MAX_CHOICES:
        node.mark_unenforced("maxProperties")
        return
    if not is_closed:
        node.mark_narrowed()
    sizes = [n for n in range(min(max_optional, len(optional)) + 1) if n >= min_optional]
    options: list[Core] = []
    for present in (names for n in sizes for names in combinations(optional, n)):
        absent = {name: False for name in optional if name not in present}
        option = object_schema(node, required=present, properties=absent)
        options.append(option if is_closed else all_of([option, _closed_object(node, named)]))
    node.require_any(options, "maxProperties")


def _closed_object(node: SchemaNode, named: dict[str, Core]) -> Core:
    listed = dict.fromkeys((*named, *node.get("required", ())), True)
    return object_schema(node, properties=listed) | {"additionalProperties": False}


def object_schema(node: SchemaNode, **keywords: Any) -> dict[str, Any]:
    """Build a schema that restricts the objects at a node, and leaves values of its other types alone."""
    schema = {keyword: list(v) if isinstance(v, tuple) else v for keyword, v in keywords.items() if v}
    return {"type": node.local["type"], **schema} if "type" in node.local else schema
