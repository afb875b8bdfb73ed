"""Normalizes numbers, strings and enumerations."""

from __future__ import annotations

import math
import re
import warnings
from fractions import Fraction
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.core import json_equal, to_core_types, type_of
from edgeinfer.grammar.json_schema.keywords import location, pointer, schema_error
from edgeinfer.grammar.json_schema.patterns import split_lookaheads
from edgeinfer.grammar.json_schema.schema_node import SchemaNode
from edgeinfer.grammar.regex import UnsupportedRegex, translate_regex

MAX_EXACT = 2**53
"""llguidance computes with doubles, which skip integers beyond this."""

MAX_LENGTH = 8192
"""Characters of a string whose length is bounded: each is a state of the lexer."""

FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
"""The formats that llguidance enforces. All others are annotations, as formats are by default."""

BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def normalize_enum(node: SchemaNode) -> None:
    """Normalize enum and const, which replace the type."""
    if not node.keywords.keys() & {"enum", "const"}:
        return
    values: list[Any] = list(node.get("enum", [node.get("const")]))
    if "const" in node.keywords:
        values = [value for value in values if json_equal(value, node.get("const"))]
    if "type" in node.local:
        types = to_core_types(node.local["type"])
        values = [value for value in values if type_of(value) in types]
    exact = [value for value in values if is_exact(value)]
    if len(exact) < len(values):
        if not exact:
            node.mark_unenforced("enum" if "enum" in node.keywords else "const")
            return
        node.mark_narrowed()
    node.local.pop("type", None)
    node.local["enum"] = exact


def is_exact(value: Any) -> bool:
    """Tell if llguidance writes this value and no other."""
    if isinstance(value, list):
        return all(map(is_exact, value))
    if isinstance(value, dict):
        return all(map(is_exact, value.values()))
    return not isinstance(value, int | float) or abs(value) <= MAX_EXACT


def normalize_numbers(node: SchemaNode) -> None:
    if not (node.may_be("integer") or node.may_be("fraction")):
        return
    bounds = _bounds(node)
    step = node.get("multipleOf")
    if step is not None and not _is_supported_step(step):
        node.mark_unenforced("multipleOf")
        step = None
    for bound, value in bounds.items():
        if abs(value) <= MAX_EXACT:
            node.local[bound] = value
        elif (value > 0) == bound.endswith("aximum"):
            node.local[bound.replace("exclusiveM", "m")] = MAX_EXACT if value > 0 else -MAX_EXACT
            node.mark_narrowed()
        else:
            node.mark_unenforced(bound)
    if step is not None:
        node.local["multipleOf"] = step
    if _allows_no_number(node.local):
        types = set(node.local.get("type", ()))
        only_numbers = types and types <= {"integer", "number"}
        node.conjuncts.append(False if only_numbers else _everything_but_numbers())


def _bounds(node: SchemaNode) -> dict[str, float]:
    """Return the bounds, with draft 4's booleans as numbers."""
    bounds = {bound: node.get(bound) for bound in BOUNDS if bound in node.keywords}
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = bounds.get(exclusive)
        if isinstance(flag, bool):
            del bounds[exclusive]
            if flag and inclusive in bounds:
                bounds[exclusive] = bounds.pop(inclusive)
    return bounds


def _is_supported_step(step: float) -> bool:
    """Tell if llguidance finds the multiples: of decimal fractions whose digits fit into 32 bits."""
    value = float(step)
    for _ in range(12):
        if value.is_integer():
            return 0 < value < 2**32 and Fraction(repr(step)) == Fraction(int(value), int(value / step + 0.5))
        value *= 10
    return False


def _allows_no_number(core: dict[str, Any]) -> bool:
    """Tell if no integer or multiple lies within the bounds; llguidance would notice in the middle of an answer."""
    only_integers = core.get("type") == ["integer"]
    if "multipleOf" not in core and not only_integers:
        return False
    step = Fraction(repr(core.get("multipleOf", 1)))
    if only_integers:
        step = Fraction(step.numerator)  # in lowest terms: the integers among its multiples
    low = [Fraction(repr(core[b])) / step for b in ("minimum", "exclusiveMinimum") if b in core]
    high = [Fraction(repr(core[b])) / step for b in ("maximum", "exclusiveMaximum") if b in core]
    if not low or not high:
        return False
    first, last = math.ceil(max(low)), math.floor(min(high))
    first += "exclusiveMinimum" in core and first == Fraction(repr(core["exclusiveMinimum"])) / step
    last -= "exclusiveMaximum" in core and last == Fraction(repr(core["exclusiveMaximum"])) / step
    return first > last


def _everything_but_numbers() -> dict[str, Any]:
    return {"type": ["null", "boolean", "string", "array", "object"]}


def normalize_strings(node: SchemaNode) -> None:
    if not node.may_be("string"):
        return
    for bound in ("minLength", "maxLength"):
        length = node.get_count(bound)
        if length is None or (length == 0 and bound == "minLength"):
            continue
        if length <= MAX_LENGTH:
            node.local[bound] = length
        elif bound == "maxLength":
            node.mark_unenforced(bound)
        else:
            raise GrammarTooComplex(
                f"{location(pointer(node.path, 'minLength'))}: strings of at least {length} characters are not "
                "supported",
                hint=f"use a minLength of {MAX_LENGTH} or less",
            )
    pattern = node.get("pattern")
    if pattern is not None:
        _normalize_pattern(node, pattern)
    string_format = node.get("format")
    if (
        string_format in FORMATS
        and node.context.enforce_formats
        and pattern is None
        and "enum" not in node.local
    ):
        node.local["format"] = string_format
        node.context.has_formats = True


def _normalize_pattern(node: SchemaNode, pattern: str) -> None:
    check_python_reads(node, pattern, "pattern")
    try:
        first, *others = [translate_regex(part) for part in split_lookaheads(pattern)]
    except UnsupportedRegex as e:
        path = pointer(node.path, "pattern")
        if path in node.context.uncheckable:
            raise schema_error(path, f"the regular expression contains {e}, which is not supported") from e
        node.mark_unenforced("pattern")
        return
    node.local["pattern"] = first
    type_keyword = {"type": node.local["type"]} if "type" in node.local else {}
    node.conjuncts += [{**type_keyword, "pattern": other} for other in others]


def check_python_reads(node: SchemaNode, pattern: str, *steps: str) -> None:
    """Mark a pattern uncheckable if Python cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about syntax that may mean set operations one day
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            node.context.uncheckable.append(pointer(node.path, *steps))
