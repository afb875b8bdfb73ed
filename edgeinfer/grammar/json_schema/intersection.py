"""Intersects two core schemas into one.

llguidance can do this too, but it multiplies lists of values with each other, notices empty results late, and
cannot intersect a circular reference.
"""

from __future__ import annotations

from typing import Any

from edgeinfer.grammar.json_schema.core import (
    Core,
    Resolve,
    all_of,
    possible_types,
    to_core_types,
    to_json_types,
)
from edgeinfer.grammar.json_schema.disjoint import disjoint, excludes

LOWER_BOUNDS = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
UPPER_BOUNDS = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
OBJECT = ("properties", "required", "additionalProperties")
ARRAY = ("prefixItems", "items")
DECIDABLE = {"type", "enum", "excluding", "minLength", "maxLength"}


def intersect(a: Core, b: Core, resolve: Resolve) -> Core:
    """Return a schema for what both allow. Properties are in the order of `a`, then of `b`."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a if b is True else b if a is True else False
    if a == b:
        return a
    for left, right in ((a, b), (b, a)):
        if left.keys() == {"$ref"} and resolve(left["$ref"]) == right:
            return left
    if disjoint(a, b, resolve):
        return False
    for left, right in ((a, b), (b, a)):
        if left.keys() == {"enum"} and _decidable(right):
            values = [value for value in left["enum"] if not excludes(right, value, resolve)]
            return {"enum": values} if values else False
    if b.keys() == {"allOf"}:
        result: Core = a
        for schema in b["allOf"]:
            result = intersect(result, schema, resolve)
        return result
    merged = _merge_keywords(a, b, resolve)
    if merged is None:
        return all_of([*a["allOf"], b]) if a.keys() == {"allOf"} else {**a, "allOf": [*a.get("allOf", ()), b]}
    return False if _impossible(merged, resolve) else merged


def _decidable(core: Core) -> bool:
    """Tell if `excludes` decides for every value if `core` allows it."""
    if isinstance(core, bool):
        return True
    return core.keys() <= DECIDABLE or (core.keys() == {"anyOf"} and all(map(_decidable, core["anyOf"])))


def _merge_keywords(a: dict[str, Any], b: dict[str, Any], resolve: Resolve) -> dict[str, Any] | None:
    """Intersect keyword by keyword; None where some keywords cannot be merged."""
    merged: dict[str, Any] = {}
    for keyword in dict.fromkeys((*a, *b)):
        if keyword in OBJECT or keyword in ARRAY:
            continue
        if keyword not in a or keyword not in b:
            merged[keyword] = a.get(keyword, b.get(keyword))
        elif keyword == "type":
            merged[keyword] = to_json_types(to_core_types(a["type"]) & to_core_types(b["type"]))
        elif keyword in LOWER_BOUNDS or keyword in UPPER_BOUNDS:
            merged[keyword] = (max if keyword in LOWER_BOUNDS else min)(a[keyword], b[keyword])
        elif keyword == "excluding":
            merged[keyword] = [*a[keyword], *b[keyword]]
        elif a[keyword] == b[keyword] and keyword not in ("patternProperties", "anyOf"):
            merged[keyword] = a[keyword]
        else:
            return None
    if "enum" in merged and len(merged) > 1:
        return None
    if ("patternProperties" in a and b.keys() & OBJECT) or ("patternProperties" in b and a.keys() & OBJECT):
        return None
    if (a.keys() | b.keys()) & set(OBJECT):
        merged |= _intersect_objects(a, b, resolve)
    if (a.keys() | b.keys()) & set(ARRAY):
        merged |= _intersect_arrays(a, b, resolve)
    return merged


def _intersect_objects(a: dict[str, Any], b: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    a_others: Core = a.get("additionalProperties", True)
    b_others: Core = b.get("additionalProperties", True)
    a_named, b_named = a.get("properties", {}), b.get("properties", {})
    keywords: dict[str, Any] = {
        "properties": {
            name: intersect(a_named.get(name, a_others), b_named.get(name, b_others), resolve)
            for name in dict.fromkeys((*a_named, *b_named))
        },
        "required": list(dict.fromkeys((*a.get("required", ()), *b.get("required", ())))),
    }
    keywords = {keyword: value for keyword, value in keywords.items() if value}
    others = intersect(a_others, b_others, resolve)
    return keywords if others is True else {**keywords, "additionalProperties": others}


def _intersect_arrays(a: dict[str, Any], b: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    a_rest: Core = a.get("items", True)
    b_rest: Core = b.get("items", True)
    a_prefix, b_prefix = a.get("prefixItems", []), b.get("prefixItems", [])
    prefix = [
        intersect(
            a_prefix[n] if n < len(a_prefix) else a_rest,
            b_prefix[n] if n < len(b_prefix) else b_rest,
            resolve,
        )
        for n in range(max(len(a_prefix), len(b_prefix)))
    ]
    rest = intersect(a_rest, b_rest, resolve)
    return {**({"prefixItems": prefix} if prefix else {}), **({} if rest is True else {"items": rest})}


def _impossible(core: dict[str, Any], resolve: Resolve) -> bool:
    """Tell if an object must have a property that it must not have."""
    properties = core.get("properties", {})
    contradictory = any(properties.get(name) is False for name in core.get("required", ()))
    return contradictory and possible_types(core, resolve) == {"object"}
