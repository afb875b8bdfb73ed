"""Two core schemas as one.

llguidance does this as well, but multiplies lists of values with each other, notices late what is empty, and
cannot join a circular reference.
"""

from __future__ import annotations

from typing import Any

from edgeinfer.grammar.json_schema.core import Core, Resolve, all_of, joined, split, types
from edgeinfer.grammar.json_schema.disjoint import disjoint, excludes

LEAST = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
MOST = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
OBJECT = ("properties", "required", "additionalProperties")
ARRAY = ("prefixItems", "items")
DECIDABLE = {"type", "enum", "excluding", "minLength", "maxLength"}


def join(a: Core, b: Core, resolve: Resolve) -> Core:
    """What both allow. The order of properties is `a`'s, then `b`'s."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a if b is True else b if a is True else False
    if a == b:
        return a
    for one, other in ((a, b), (b, a)):
        if one.keys() == {"$ref"} and resolve(one["$ref"]) == other:
            return one
    if disjoint(a, b, resolve):
        return False
    for one, other in ((a, b), (b, a)):
        if one.keys() == {"enum"} and _decidable(other):
            kept = [value for value in one["enum"] if not excludes(other, value, resolve)]
            return {"enum": kept} if kept else False
    if b.keys() == {"allOf"}:
        found: Core = a
        for part in b["allOf"]:
            found = join(found, part, resolve)
        return found
    merged = _merged(a, b, resolve)
    if merged is None:
        return all_of([*a["allOf"], b]) if a.keys() == {"allOf"} else {**a, "allOf": [*a.get("allOf", ()), b]}
    return False if _impossible(merged, resolve) else merged


def _decidable(core: Core) -> bool:
    """`excludes` says for certain whether a value satisfies it."""
    if isinstance(core, bool):
        return True
    return core.keys() <= DECIDABLE or (core.keys() == {"anyOf"} and all(map(_decidable, core["anyOf"])))


def _merged(a: dict[str, Any], b: dict[str, Any], resolve: Resolve) -> dict[str, Any] | None:
    """Keyword by keyword; None where some are to be joined that cannot be."""
    found: dict[str, Any] = {}
    for keyword in dict.fromkeys((*a, *b)):
        if keyword in OBJECT or keyword in ARRAY:
            continue
        if keyword not in a or keyword not in b:
            found[keyword] = a.get(keyword, b.get(keyword))
        elif keyword == "type":
            found[keyword] = joined(split(a["type"]) & split(b["type"]))
        elif keyword in LEAST or keyword in MOST:
            found[keyword] = (max if keyword in LEAST else min)(a[keyword], b[keyword])
        elif keyword == "excluding":
            found[keyword] = [*a[keyword], *b[keyword]]
        elif a[keyword] == b[keyword] and keyword not in ("patternProperties", "anyOf"):
            found[keyword] = a[keyword]
        else:
            return None
    if "enum" in found and len(found) > 1:
        return None
    if ("patternProperties" in a and b.keys() & OBJECT) or ("patternProperties" in b and a.keys() & OBJECT):
        return None
    if (a.keys() | b.keys()) & set(OBJECT):
        found |= _object(a, b, resolve)
    if (a.keys() | b.keys()) & set(ARRAY):
        found |= _array(a, b, resolve)
    return found


def _object(a: dict[str, Any], b: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    others: list[Core] = [one.get("additionalProperties", True) for one in (a, b)]
    mine, yours = a.get("properties", {}), b.get("properties", {})
    found: dict[str, Any] = {
        "properties": {
            name: join(mine.get(name, others[0]), yours.get(name, others[1]), resolve)
            for name in dict.fromkeys((*mine, *yours))
        },
        "required": list(dict.fromkeys((*a.get("required", ()), *b.get("required", ())))),
    }
    found = {keyword: value for keyword, value in found.items() if value}
    rest = join(others[0], others[1], resolve)
    return found if rest is True else {**found, "additionalProperties": rest}


def _array(a: dict[str, Any], b: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    rest: list[Core] = [one.get("items", True) for one in (a, b)]
    mine, yours = a.get("prefixItems", []), b.get("prefixItems", [])
    prefix = [
        join(mine[n] if n < len(mine) else rest[0], yours[n] if n < len(yours) else rest[1], resolve)
        for n in range(max(len(mine), len(yours)))
    ]
    found = {"items": join(rest[0], rest[1], resolve)}
    return {**({"prefixItems": prefix} if prefix else {}), **({} if found["items"] is True else found)}


def _impossible(core: dict[str, Any], resolve: Resolve) -> bool:
    """An object must have what it must not have."""
    named = core.get("properties", {})
    missing = any(named.get(name) is False for name in core.get("required", ()))
    return missing and types(core, resolve) == {"object"}
