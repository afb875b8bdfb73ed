"""Says in words what msgspec expects of a value."""

from __future__ import annotations

import re

import msgspec

EXPECTED = re.compile(r"Expected `([^`]+)`(?: (>=|<=|>|<) (-?[\d.]+?)(?:\.0)?)?(?:,| - |$)")
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text in quotes",
    "array": "a list",
    "object": "a table",
}
BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def sentence(error: msgspec.ValidationError) -> str:
    """Tell what a value must be: "it must be a whole number"."""
    match = EXPECTED.match(str(error))
    if not match:
        return str(error)
    kinds, bound, limit = match.groups()
    if bound:
        return f"it must be {BOUNDS[bound]} {limit}"
    names = [KINDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null"]
    return f"it must be {' or '.join(names)}"
