"""Decides that no value can satisfy two core schemas at once."""

from __future__ import annotations

import re
from typing import Any

from edgeinfer.grammar.json_schema.core import (
    MAX_REFS,
    TYPES,
    Core,
    Resolve,
    json_equal,
    possible_types,
    property_schema,
    to_core_types,
    type_of,
)

HEX = re.compile(r"\\x\{([0-9a-f]+)\}")
NOT_PYTHON = re.compile(r"\\p|&&|\[[^\]]*\[|\(\?<|\+\+|\*\+")

MAX_VALUES = 200
"""Values of an enumeration that are tried one by one."""

MAX_COMPARED_ITEMS = 8

Cache = dict[frozenset[int], bool]
"""Decisions by the ids of two schemas; schemas of many parts would be compared over and over without it."""


def disjoint(a: Core, b: Core, resolve: Resolve, fuel: int = MAX_REFS) -> bool:
    """Tell if no value satisfies both schemas. True is certain, False is not."""
    return _disjoint(a, b, set(TYPES), resolve, fuel, {})


def _disjoint(a: Core, b: Core, types: set[str], resolve: Resolve, fuel: int, cache: Cache) -> bool:
    """Decide it for the values of some types."""
    if a is False or b is False:
        return True
    if isinstance(a, bool) or isinstance(b, bool) or fuel < 0:
        return False
    pair = frozenset((id(a), id(b)))
    if pair not in cache:
        cache[pair] = False
        common = types & possible_types(a, resolve) & possible_types(b, resolve)
        cache[pair] = not common or _compare(a, b, common, resolve, fuel, cache)
    return cache[pair]


def _compare(
    a: dict[str, Any], b: dict[str, Any], types: set[str], resolve: Resolve, fuel: int, cache: Cache
) -> bool:
    for left, right in ((a, b), (b, a)):
        if "$ref" in left and _disjoint(resolve(left["$ref"]), right, types, resolve, fuel - 1, cache):
            return True
        if any(_disjoint(schema, right, types, resolve, fuel, cache) for schema in left.get("allOf", ())):
            return True
        if "anyOf" in left and all(
            _disjoint(option, right, types, resolve, fuel, cache) for option in left["anyOf"]
        ):
            return True
        values = left.get("enum", ())
        if 0 < len(values) <= MAX_VALUES and all(excludes(right, value, resolve) for value in values):
            return True
    if types == {"object"}:
        return _compare_objects(a, b, resolve, fuel)
    if types == {"array"}:
        return _compare_arrays(a, b, resolve, fuel)
    if types <= {"integer", "fraction"}:
        return _all_below(a, b) or _all_below(b, a)
    return False


def excludes(core: Core, value: Any, resolve: Resolve, fuel: int = MAX_REFS) -> bool:
    """Tell if `value` does not satisfy `core`. True is certain, False is not."""
    if isinstance(core, bool) or fuel < 0:
        return core is False
    value_type = type_of(value)
    if "type" in core and value_type not in to_core_types(core["type"]):
        return True
    if "enum" in core and not any(json_equal(value, allowed) for allowed in core["enum"]):
        return True
    if "$ref" in core and excludes(resolve(core["$ref"]), value, resolve, fuel - 1):
        return True
    if any(excludes(schema, value, resolve, fuel) for schema in core.get("allOf", ())):
        return True
    if "anyOf" in core and all(excludes(option, value, resolve, fuel) for option in core["anyOf"]):
        return True
    if value_type == "string":
        return _excludes_text(core, value)
    if value_type == "object":
        if any(name not in value for name in core.get("required", ())):
            return True
        return any(excludes(property_schema(core, k), v, resolve, fuel) for k, v in value.items())
    if value_type in ("integer", "fraction"):
        point = {"minimum": value, "maximum": value}
        return _all_below(core, point) or _all_below(point, core)
    return False


def _excludes_text(core: dict[str, Any], text: str) -> bool:
    if text in core.get("excluding", ()) or len(text) < core.get("minLength", 0):
        return True
    return len(text) > core.get("maxLength", len(text)) or not _may_match(core.get("pattern", ""), text)


def _may_match(pattern: str, text: str) -> bool:
    """Match with Python, which reads most of what `translate_regex` writes in the same way."""
    if NOT_PYTHON.search(pattern):
        return True
    try:
        return re.search(HEX.sub(lambda code: f"\\U{int(code[1], 16):08x}", pattern), text) is not None
    except re.error:
        return True


def _compare_objects(a: dict[str, Any], b: dict[str, Any], resolve: Resolve, fuel: int) -> bool:
    required = dict.fromkeys((*a.get("required", ()), *b.get("required", ())))
    return any(
        disjoint(property_schema(a, name), property_schema(b, name), resolve, fuel - 1) for name in required
    )


def _compare_arrays(a: dict[str, Any], b: dict[str, Any], resolve: Resolve, fuel: int) -> bool:
    min_items = max(a.get("minItems", 0), b.get("minItems", 0))
    if min_items > min(a.get("maxItems", min_items), b.get("maxItems", min_items)):
        return True
    compared = range(min(min_items, MAX_COMPARED_ITEMS))
    return any(disjoint(_item_schema(a, n), _item_schema(b, n), resolve, fuel - 1) for n in compared)


def _item_schema(core: dict[str, Any], n: int) -> Core:
    prefix = core.get("prefixItems", ())
    schema: Core = prefix[n] if n < len(prefix) else core.get("items", True)
    return schema


def _all_below(low: dict[str, Any], high: dict[str, Any]) -> bool:
    """Tell if all numbers under `low` are below those under `high`."""
    return any(
        upper in low
        and lower in high
        and (low[upper] < high[lower] or (exclusive and low[upper] == high[lower]))
        for upper, lower, exclusive in (
            ("maximum", "minimum", False),
            ("exclusiveMaximum", "minimum", True),
            ("maximum", "exclusiveMinimum", True),
            ("exclusiveMaximum", "exclusiveMinimum", True),
        )
    )
