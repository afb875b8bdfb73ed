"""Whether no value can satisfy two core schemas at once."""

from __future__ import annotations

import re
from typing import Any

from edgeinfer.grammar.json_schema.core import FUEL, TYPES, Core, Resolve, same, split, type_of, types

HEX = re.compile(r"\\x\{([0-9a-f]+)\}")
NOT_PYTHON = re.compile(r"\\p|&&|\[[^\]]*\[|\(\?<|\+\+|\*\+")

MAX_VALUES = 200
"""Of an enumeration that are tried one by one."""


Known = dict[frozenset[int], bool]
"""What is known of pairs, by their ids: two schemas of many parts would be compared over and over."""


def disjoint(a: Core, b: Core, resolve: Resolve, fuel: int = FUEL) -> bool:
    """True is certain, False is not."""
    return _disjoint(a, b, set(TYPES), resolve, fuel, {})


def _disjoint(a: Core, b: Core, among: set[str], resolve: Resolve, fuel: int, known: Known) -> bool:
    """As `disjoint`, for the values of some types."""
    if a is False or b is False:
        return True
    if isinstance(a, bool) or isinstance(b, bool) or fuel < 0:
        return False
    pair = frozenset((id(a), id(b)))
    if pair not in known:
        known[pair] = False
        common = among & types(a, resolve) & types(b, resolve)
        known[pair] = not common or _compared(a, b, common, resolve, fuel, known)
    return known[pair]


def _compared(
    a: dict[str, Any], b: dict[str, Any], common: set[str], resolve: Resolve, fuel: int, known: Known
) -> bool:
    for one, other in ((a, b), (b, a)):
        if "$ref" in one and _disjoint(resolve(one["$ref"]), other, common, resolve, fuel - 1, known):
            return True
        if any(_disjoint(part, other, common, resolve, fuel, known) for part in one.get("allOf", ())):
            return True
        if "anyOf" in one and all(_disjoint(o, other, common, resolve, fuel, known) for o in one["anyOf"]):
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
    if text in core.get("excluding", ()) or len(text) < core.get("minLength", 0):
        return True
    return len(text) > core.get("maxLength", len(text)) or not _may_match(core.get("pattern", ""), text)


def _may_match(pattern: str, text: str) -> bool:
    """Python reads most of what `pattern.translate` writes, and in the same way."""
    if NOT_PYTHON.search(pattern):
        return True
    try:
        return re.search(HEX.sub(lambda found: f"\\U{int(found[1], 16):08x}", pattern), text) is not None
    except re.error:
        return True


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
