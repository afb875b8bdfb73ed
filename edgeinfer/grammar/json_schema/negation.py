"""Negates core schemas, as far as grammars can express the result."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from edgeinfer.grammar.json_schema.core import (
    MAX_REFS,
    TYPES,
    Core,
    Resolve,
    all_of,
    any_of,
    json_equal,
    to_core_types,
    to_json_types,
    type_of,
)

MAX_EXCLUDED = 64
"""Values that can be excluded at once."""

MAX_EXCLUDED_LENGTH = 64
"""Characters of an excluded text: each is a group within a group."""

BOUND_NEGATIONS = {
    "minimum": ("number", "exclusiveMaximum", 0),
    "maximum": ("number", "exclusiveMinimum", 0),
    "exclusiveMinimum": ("number", "maximum", 0),
    "exclusiveMaximum": ("number", "minimum", 0),
    "minLength": ("string", "maxLength", -1),
    "maxLength": ("string", "minLength", 1),
    "minItems": ("array", "maxItems", -1),
    "maxItems": ("array", "minItems", 1),
    "minProperties": ("object", "maxProperties", -1),
    "maxProperties": ("object", "minProperties", 1),
}
"""Bound -> its type, the bound that holds where it does not, and what to add to its value for that."""


def negations(core: Core, resolve: Resolve, fuel: int = MAX_REFS) -> list[Core] | None:
    """Return schemas whose union holds only where `core` does not, and omits no natural value.

    None means that our grammars cannot express such schemas.
    """
    if isinstance(core, bool):
        return [] if core else [True]
    options: list[Core] = []
    for keyword, value in core.items():
        negated = _negate_keyword(keyword, value, resolve, fuel)
        if negated is None:
            return None
        options += negated
    return options


def _negate_keyword(keyword: str, value: Any, resolve: Resolve, fuel: int) -> list[Core] | None:
    if keyword == "type":
        others = set(TYPES) - to_core_types(value)
        return [{"type": to_json_types(others)}] if to_json_types(others) else []
    if keyword == "enum":
        return _other_than(value)
    if keyword in BOUND_NEGATIONS:
        json_type, bound, step = BOUND_NEGATIONS[keyword]
        possible = value + step >= 0 or json_type == "number"
        return [{"type": [json_type], bound: value + step}] if possible else []
    if keyword == "required":
        return [{"type": ["object"], "properties": {name: False}} for name in value]
    if keyword == "properties":
        return _negate_each(value, resolve, fuel, lambda name, negated: _object(name, negated))
    if keyword == "prefixItems":
        items = dict(enumerate(value))
        return _negate_each(items, resolve, fuel, lambda n, negated: _tuple([*[True] * n, negated]))
    if keyword == "anyOf":
        parts = [negations(option, resolve, fuel) for option in value]
        return None if None in parts else [all_of([any_of(options or []) for options in parts])]
    if keyword == "allOf":
        parts = [negations(schema, resolve, fuel) for schema in value]
        return None if None in parts else [option for options in parts for option in options or []]
    if keyword == "$ref":
        return negations(resolve(value), resolve, fuel - 1) if fuel else None
    if keyword == "excluding":
        return [{"enum": value}]
    if keyword == "format":
        return []  # formats are not asserted
    if keyword in ("items", "additionalProperties") and value is True:
        return []
    return None


def _negate_each(
    schemas: dict[Any, Core], resolve: Resolve, fuel: int, make: Callable[[Any, Core], Core]
) -> list[Core] | None:
    negated = []
    for key, schema in schemas.items():
        options = negations(schema, resolve, fuel)
        if options is None:
            return None
        if options:
            negated.append(make(key, any_of(options)))
    return negated


def _object(name: str, schema: Core) -> Core:
    return {"type": ["object"], "properties": {name: schema}, "required": [name]}


def _tuple(prefix: list[Core]) -> Core:
    return {"type": ["array"], "prefixItems": prefix, "minItems": len(prefix)}


def _other_than(values: list[Any]) -> list[Core] | None:
    """Return everything but `values`, without all fractions, arrays or objects where one is among them."""
    if len(values) > MAX_EXCLUDED:
        return None
    types = {type_of(value) for value in values}
    rest = set(TYPES) - types - ({"fraction"} if "integer" in types else set())
    options: list[Core] = [{"type": to_json_types(rest)}] if to_json_types(rest) else []
    if "boolean" in types:
        options += [
            {"enum": [value]} for value in (True, False) if not any(json_equal(value, v) for v in values)
        ]
    if "string" in types:
        texts = [value for value in values if isinstance(value, str)]
        if max(map(len, texts)) > MAX_EXCLUDED_LENGTH:
            return None
        options.append({"type": ["string"], "excluding": texts})
    if "integer" in types:
        options += _gaps(sorted({int(value) for value in values if type_of(value) == "integer"}))
    return options


def _gaps(integers: list[int]) -> list[Core]:
    """Return the ranges of integers below, between and above these."""
    gaps: list[Core] = []
    for low, high in pairwise([None, *integers, None]):
        gap: dict[str, Any] = {"type": ["integer"]}
        gap |= {} if low is None else {"minimum": low + 1}
        gap |= {} if high is None else {"maximum": high - 1}
        if low is None or high is None or high - low > 1:
            gaps.append(gap)
    return gaps
