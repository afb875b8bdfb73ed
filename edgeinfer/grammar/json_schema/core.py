"""Core schemas: the subset of JSON Schema that `normalizer` rewrites everything to, and facts about them.

A core schema is a bool, or a dict of: type (a list), enum, the bounds of numbers, strings, arrays and objects,
pattern, format, multipleOf, properties, patternProperties, additionalProperties, required, prefixItems, items,
allOf, anyOf, and $ref to "#/$defs/...". They mean what they mean in draft 2020-12. One keyword is our own:
`excluding` lists texts that a string must not be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

Core = Union[bool, dict[str, Any]]  # noqa: UP007  mypy and 3.10 agree on this form only
Resolve = Callable[[str], Core]
"""Returns the definition that a `$ref` points to."""

TYPES = ("null", "boolean", "integer", "fraction", "string", "array", "object")
"""The core types; every value has exactly one. A number is an integer or a fraction."""

MAX_REFS = 8
"""References that are followed to reach a conclusion; beyond them there is none. It is the first `fuel`."""


def type_of(value: Any) -> str:
    """Return a value's core type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if float(value).is_integer() else "fraction"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def to_core_types(names: list[str]) -> set[str]:
    """Translate JSON Schema's types to core types."""
    return {part for name in names for part in (("integer", "fraction") if name == "number" else (name,))}


def to_json_types(types: set[str]) -> list[str]:
    """Translate core types to JSON Schema's. JSON Schema has no name for fractions without integers."""
    names = [name for name in TYPES if name in types and name != "fraction"]
    return ["number" if name == "integer" and "fraction" in types else name for name in names]


def json_equal(a: Any, b: Any) -> bool:
    """Compare two values as JSON, where true is not 1."""
    if type_of(a) != type_of(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(json_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(json_equal(a[key], b[key]) for key in a)
    return bool(a == b)


def all_of(schemas: list[Core]) -> Core:
    """Return a schema for what all of these allow."""
    schemas = [schema for schema in schemas if schema is not True and schema != {}]
    if False in schemas:
        return False
    if len(schemas) < 2:
        return schemas[0] if schemas else True
    return {"allOf": schemas}


def any_of(options: list[Core]) -> Core:
    """Return a schema for what at least one of these allows."""
    options = [option for option in options if option is not False]
    if True in options or {} in options:
        return True
    if len(options) < 2:
        return options[0] if options else False
    return {"anyOf": options}


def possible_types(core: Core, resolve: Resolve, fuel: int = MAX_REFS) -> set[str]:
    """Return the types that values under `core` can have; possibly more."""
    if isinstance(core, bool):
        return set(TYPES) if core else set()
    types = set(TYPES)
    if "type" in core:
        types &= to_core_types(core["type"])
    if "enum" in core:
        types &= {type_of(value) for value in core["enum"]}
    if "anyOf" in core:
        types &= set().union(*(possible_types(option, resolve, fuel) for option in core["anyOf"]))
    for schema in core.get("allOf", ()):
        types &= possible_types(schema, resolve, fuel)
    if "$ref" in core and fuel:
        types &= possible_types(resolve(core["$ref"]), resolve, fuel - 1)
    return types


def property_schema(core: dict[str, Any], name: str) -> Core:
    """Return what an object schema says about one property; True where patterns leave it open."""
    if name in core.get("properties", {}):
        schema: Core = core["properties"][name]
    elif core.get("patternProperties"):
        schema = True
    else:
        schema = core.get("additionalProperties", True)
    return schema
