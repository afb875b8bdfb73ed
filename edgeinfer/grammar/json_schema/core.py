"""Core schemas: the part of JSON schema that `schema` reduces all of it to, and how to reason about them.

A core schema is a bool, or a dict of: type (a list), enum, the bounds of numbers, strings, arrays and objects,
pattern, format, multipleOf, properties, patternProperties, additionalProperties, required, prefixItems, items,
allOf, anyOf, and $ref to "#/$defs/...". They mean what they mean in draft 2020-12. One keyword is our own:
`excluding` lists texts that a string must not be.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Union

Core = Union[bool, dict[str, Any]]  # noqa: UP007  mypy and 3.10 agree on this form only
Resolve = Callable[[str], Core]

TYPES = ("null", "boolean", "integer", "fraction", "string", "array", "object")
"""That every value has exactly one of. A number is an integer or a fraction."""

FUEL = 8
"""References that are followed on the way to a conclusion; beyond that there is none."""

MAX_EXCLUDED = 64
"""Values that can be excluded at once."""

MAX_EXCLUDED_LENGTH = 64
"""Of an excluded text: each character is a group within a group."""

RANGES = {
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
"""A bound -> the type it is for, and the bound that holds where it does not, so much away."""


def type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if float(value).is_integer() else "fraction"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def split(names: list[str]) -> set[str]:
    """JSON schema's types as ours."""
    return {part for name in names for part in (("integer", "fraction") if name == "number" else (name,))}


def joined(types: set[str]) -> list[str]:
    """The reverse. A fraction alone has no name, so it may only come with integers."""
    names = [name for name in TYPES if name in types and name != "fraction"]
    return ["number" if name == "integer" and "fraction" in types else name for name in names]


def same(a: Any, b: Any) -> bool:
    """Equal in JSON, where true is not 1."""
    if type_of(a) != type_of(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def all_of(parts: list[Core]) -> Core:
    parts = [part for part in parts if part is not True and part != {}]
    if False in parts:
        return False
    if len(parts) < 2:
        return parts[0] if parts else True
    return {"allOf": parts}


def any_of(options: list[Core]) -> Core:
    options = [option for option in options if option is not False]
    if True in options or {} in options:
        return True
    if len(options) < 2:
        return options[0] if options else False
    return {"anyOf": options}


def types(core: Core, resolve: Resolve, fuel: int = FUEL) -> set[str]:
    """The types that a value under `core` may have; perhaps more."""
    if isinstance(core, bool):
        return set(TYPES) if core else set()
    found = set(TYPES)
    if "type" in core:
        found &= split(core["type"])
    if "enum" in core:
        found &= {type_of(value) for value in core["enum"]}
    if "anyOf" in core:
        found &= set().union(*(types(option, resolve, fuel) for option in core["anyOf"]))
    for part in core.get("allOf", ()):
        found &= types(part, resolve, fuel)
    if "$ref" in core and fuel:
        found &= types(resolve(core["$ref"]), resolve, fuel - 1)
    return found


def negations(core: Core, resolve: Resolve, fuel: int = FUEL) -> list[Core] | None:
    """Schemas of which at least one holds only where `core` does not, and that leave out nothing natural.

    None: there are none that our grammars can express.
    """
    if isinstance(core, bool):
        return [] if core else [True]
    found: list[Core] = []
    for keyword, value in core.items():
        options = _negation(keyword, value, resolve, fuel)
        if options is None:
            return None
        found += options
    return found


def _negation(keyword: str, value: Any, resolve: Resolve, fuel: int) -> list[Core] | None:
    if keyword == "type":
        others = set(TYPES) - split(value)
        return [{"type": joined(others)}] if joined(others) else []
    if keyword == "enum":
        return _other_than(value)
    if keyword in RANGES:
        kind, bound, step = RANGES[keyword]
        return [{"type": [kind], bound: value + step}] if value + step >= 0 or kind == "number" else []
    if keyword == "required":
        return [{"type": ["object"], "properties": {name: False}} for name in value]
    if keyword == "properties":
        return _each(value, resolve, fuel, lambda k, no: _object(k, no))
    if keyword == "prefixItems":
        return _each(dict(enumerate(value)), resolve, fuel, lambda n, no: _tuple([*[True] * n, no]))
    if keyword == "anyOf":
        nots = [negations(option, resolve, fuel) for option in value]
        return None if None in nots else [all_of([any_of(options or []) for options in nots])]
    if keyword == "allOf":
        parts = [negations(part, resolve, fuel) for part in value]
        return None if None in parts else [option for options in parts for option in options or []]
    if keyword == "$ref":
        return negations(resolve(value), resolve, fuel - 1) if fuel else None
    if keyword == "excluding":
        return [{"enum": value}]
    if keyword == "format":
        return []  # not asserted
    if keyword in ("items", "additionalProperties") and value is True:
        return []
    return None


def _each(
    schemas: dict[Any, Core], resolve: Resolve, fuel: int, make: Callable[[Any, Core], Core]
) -> list[Core] | None:
    found = []
    for key, schema in schemas.items():
        options = negations(schema, resolve, fuel)
        if options is None:
            return None
        if options:
            found.append(make(key, any_of(options)))
    return found


def _object(name: str, schema: Core) -> Core:
    return {"type": ["object"], "properties": {name: schema}, "required": [name]}


def _tuple(prefix: list[Core]) -> Core:
    return {"type": ["array"], "prefixItems": prefix, "minItems": len(prefix)}


def _other_than(values: list[Any]) -> list[Core] | None:
    """Everything but `values`, without all fractions, arrays or objects where one is among them."""
    if len(values) > MAX_EXCLUDED:
        return None
    kinds = {type_of(value) for value in values}
    rest = set(TYPES) - kinds - ({"fraction"} if "integer" in kinds else set())
    found: list[Core] = [{"type": joined(rest)}] if joined(rest) else []
    if "boolean" in kinds:
        found += [{"enum": [value]} for value in (True, False) if not any(same(value, v) for v in values)]
    if "string" in kinds:
        texts = [value for value in values if isinstance(value, str)]
        if max(map(len, texts)) > MAX_EXCLUDED_LENGTH:
            return None
        found.append({"type": ["string"], "excluding": texts})
    if "integer" in kinds:
        bounds = sorted({int(value) for value in values if type_of(value) == "integer"})
        ends = [None, *bounds, None]
        for low, high in pairwise(ends):
            gap: dict[str, Any] = {"type": ["integer"]}
            gap |= {} if low is None else {"minimum": low + 1}
            gap |= {} if high is None else {"maximum": high - 1}
            if low is None or high is None or high - low > 1:
                found.append(gap)
    return found
