"""Numbers and strings, and what is one of a list of values."""

from __future__ import annotations

import math
import re
import warnings
from fractions import Fraction
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.core import same, split, type_of
from edgeinfer.grammar.json_schema.keywords import invalid, pointer
from edgeinfer.grammar.json_schema.schema_node import Place
from edgeinfer.grammar.regex import Untranslatable, conjuncts, translate

EXACT = 2**53
"""llguidance reckons with doubles, which beyond this leave out integers."""

MAX_LENGTH = 8192
"""Of strings that are counted: each character is a state of the lexer."""

FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
"""Those llguidance knows. All others are remarks, as formats are by default."""

BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def enumeration(place: Place) -> None:
    """enum and const; the type is theirs."""
    if not place.keywords.keys() & {"enum", "const"}:
        return
    values: list[Any] = list(place.get("enum", [place.get("const")]))
    if "const" in place.keywords:
        values = [value for value in values if same(value, place.get("const"))]
    if "type" in place.own:
        allowed = split(place.own["type"])
        values = [value for value in values if type_of(value) in allowed]
    kept = [value for value in values if representable(value)]
    if len(kept) < len(values):
        if not kept:
            place.leave("enum" if "enum" in place.keywords else "const")
            return
        place.narrow()
    place.own.pop("type", None)
    place.own["enum"] = kept


def representable(value: Any) -> bool:
    """llguidance writes this value and no other."""
    if isinstance(value, list):
        return all(map(representable, value))
    if isinstance(value, dict):
        return all(map(representable, value.values()))
    return not isinstance(value, int | float) or abs(value) <= EXACT


def numbers(place: Place) -> None:
    if not (place.concerns("integer") or place.concerns("fraction")):
        return
    bounds = _bounds(place)
    step = place.get("multipleOf")
    if step is not None and not _divides(step):
        place.leave("multipleOf")
        step = None
    for bound, value in bounds.items():
        if abs(value) <= EXACT:
            place.own[bound] = value
        elif (value > 0) == bound.endswith("aximum"):
            place.own[bound.replace("exclusiveM", "m")] = EXACT if value > 0 else -EXACT
            place.narrow()
        else:
            place.leave(bound)
    if step is not None:
        place.own["multipleOf"] = step
    if _empty(place.own):
        types = set(place.own.get("type", ()))
        place.parts.append(False if types and types <= {"integer", "number"} else _no_number())


def _bounds(place: Place) -> dict[str, float]:
    """The bounds, with draft 4's booleans as numbers."""
    found = {bound: place.get(bound) for bound in BOUNDS if bound in place.keywords}
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = found.get(exclusive)
        if isinstance(flag, bool):
            del found[exclusive]
            if flag and inclusive in found:
                found[exclusive] = found.pop(inclusive)
    return found


def _divides(step: float) -> bool:
    """llguidance finds the multiples of this: a decimal fraction whose digits fit into 32 bits."""
    value = float(step)
    for _ in range(12):
        if value.is_integer():
            return 0 < value < 2**32 and Fraction(repr(step)) == Fraction(int(value), int(value / step + 0.5))
        value *= 10
    return False


def _empty(own: dict[str, Any]) -> bool:
    """No integer or multiple lies within the bounds. llguidance would find out in the middle of an answer."""
    whole = own.get("type") == ["integer"]
    if "multipleOf" not in own and not whole:
        return False
    step = Fraction(repr(own.get("multipleOf", 1)))
    if whole:
        step = Fraction(step.numerator)  # in lowest terms: the integers among its multiples
    low = [Fraction(repr(own[b])) / step for b in ("minimum", "exclusiveMinimum") if b in own]
    high = [Fraction(repr(own[b])) / step for b in ("maximum", "exclusiveMaximum") if b in own]
    if not low or not high:
        return False
    first, last = math.ceil(max(low)), math.floor(min(high))
    first += "exclusiveMinimum" in own and first == Fraction(repr(own["exclusiveMinimum"])) / step
    last -= "exclusiveMaximum" in own and last == Fraction(repr(own["exclusiveMaximum"])) / step
    return first > last


def _no_number() -> dict[str, Any]:
    return {"type": ["null", "boolean", "string", "array", "object"]}


def strings(place: Place) -> None:
    if not place.concerns("string"):
        return
    for bound in ("minLength", "maxLength"):
        length = place.count(bound)
        if length is None or (length == 0 and bound == "minLength"):
            continue
        if length <= MAX_LENGTH:
            place.own[bound] = length
        elif bound == "maxLength":
            place.leave(bound)
        else:
            raise GrammarTooComplex(
                f"at {place.at}/minLength: strings of at least {length} characters are not supported",
                hint=f"ask for {MAX_LENGTH} at most",
            )
    pattern = place.get("pattern")
    if pattern is not None:
        _pattern(place, pattern)
    form = place.get("format")
    if form in FORMATS and place.context.formats and pattern is None and "enum" not in place.own:
        place.own["format"] = form
        place.context.formatted = True


def _pattern(place: Place, pattern: str) -> None:
    check_python(place, pattern, "pattern")
    try:
        first, *others = [translate(part) for part in conjuncts(pattern)]
    except Untranslatable as e:
        at = pointer(place.at, "pattern")
        if at in place.context.uncheckable:
            raise invalid(at, f"the expression has {e}, which is not supported") from e
        place.leave("pattern")
        return
    place.own["pattern"] = first
    kind = {"type": place.own["type"]} if "type" in place.own else {}
    place.parts += [{**kind, "pattern": other} for other in others]


def check_python(place: Place, pattern: str, *steps: str) -> None:
    """Note an expression that finished answers cannot be checked by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python may one day read as an operation on sets
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            place.context.uncheckable.append(pointer(place.at, *steps))
