"""Whether no value can satisfy two core schemas at once."""

from __future__ import annotations

from typing import Any

from edgeinfer.grammar.core import FUEL, Core, Resolve, same, split, type_of, types

MAX_VALUES = 200
"""Of an enumeration that are tried one by one."""


def disjoint(a: Core, b: Core, resolve: Resolve, fuel: int = FUEL) -> bool:
    """True is certain, False is not."""
    if a is False or b is False:
        return True
    if isinstance(a, bool) or isinstance(b, bool) or fuel < 0:
        return False
    common = types(a, resolve) & types(b, resolve)
    if not common:
        return True
    for one, other in ((a, b), (b, a)):
        if "$ref" in one and disjoint(resolve(one["$ref"]), other, resolve, fuel - 1):
            return True
        if any(disjoint(part, other, resolve, fuel) for part in one.get("allOf", ())):
            return True
        if "anyOf" in one and all(disjoint(option, other, resolve, fuel) for option in one["anyOf"]):
            return True
        values = one.get("enum", ())
        if 0 < len(values) <= MAX_VALUES and all(excludes(other, value, resolve) for value in values):
            return True
    if common == {"object"}:
        return _objects(a, b, resolve, fuel)
    if common == {"array"}:
        return _arrays(a, b, resolve, fuel)
    if common <= {"integer", "fraction"}:
        return _apart(a, b) or _apart(b, a)
    return False


def excludes(core: Core, value: Any, resolve: Resolve, fuel: int = FUEL) -> bool:
    """`value` certainly does not satisfy `core`."""
    if isinstance(core, bool) or fuel < 0:
        return core is False
    kind = type_of(value)
    if "type" in core and kind not in split(core["type"]):
        return True
    if "enum" in core and not any(same(value, one) for one in core["enum"]):
        return True
    if "$ref" in core and excludes(resolve(core["$ref"]), value, resolve, fuel - 1):
        return True
    if any(excludes(part, value, resolve, fuel) for part in core.get("allOf", ())):
        return True
    if "anyOf" in core and all(excludes(option, value, resolve, fuel) for option in core["anyOf"]):
        return True
    if kind == "string":
        return _mismatch(core, value)
    if kind == "object":
        if any(name not in value for name in core.get("required", ())):
            return True
        return any(excludes(of_property(core, name), one, resolve, fuel) for name, one in value.items())
    if kind in ("integer", "fraction"):
        return _apart(core, {"minimum": value, "maximum": value}) or _apart(
            {"minimum": value, "maximum": value}, core
        )
    return False


def of_property(core: dict[str, Any], name: str) -> Core:
    """What an object schema says of one property; True where patterns make it unclear."""
    if name in core.get("properties", {}):
        found: Core = core["properties"][name]
    elif core.get("patternProperties"):
        found = True
    else:
        found = core.get("additionalProperties", True)
    return found


def _mismatch(core: dict[str, Any], text: str) -> bool:
    return text in core.get("excluding", ()) or not (
        core.get("minLength", 0) <= len(text) <= core.get("maxLength", len(text))
    )


def _objects(a: dict[str, Any], b: dict[str, Any], resolve: Resolve, fuel: int) -> bool:
    required = dict.fromkeys((*a.get("required", ()), *b.get("required", ())))
    return any(disjoint(of_property(a, name), of_property(b, name), resolve, fuel - 1) for name in required)


def _arrays(a: dict[str, Any], b: dict[str, Any], resolve: Resolve, fuel: int) -> bool:
    least = max(a.get("minItems", 0), b.get("minItems", 0))
    if least > min(a.get("maxItems", least), b.get("maxItems", least)):
        return True
    return any(disjoint(_item(a, n), _item(b, n), resolve, fuel - 1) for n in range(min(least, 8)))


def _item(core: dict[str, Any], n: int) -> Core:
    prefix = core.get("prefixItems", ())
    found: Core = prefix[n] if n < len(prefix) else core.get("items", True)
    return found


def _apart(low: dict[str, Any], high: dict[str, Any]) -> bool:
    """All numbers under `low` are below those under `high`."""
    return any(
        upper in low and lower in high and (low[upper] < high[lower] or (open_ and low[upper] == high[lower]))
        for upper, lower, open_ in (
            ("maximum", "minimum", False),
            ("exclusiveMaximum", "minimum", True),
            ("maximum", "exclusiveMinimum", True),
            ("exclusiveMaximum", "exclusiveMinimum", True),
        )
    )
