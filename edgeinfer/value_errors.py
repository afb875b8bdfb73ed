"""Says in words what msgspec expects of a value."""

from __future__ import annotations

import os
import re
from typing import Any, Literal, get_args, get_origin

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


def sentence(error: msgspec.ValidationError, kind: Any) -> str:
    """Tell what a value of the type `kind` must be: "it must be a whole number"."""
    if str(error).startswith("Invalid enum value"):
        return f"it must be one of {', '.join(choices(kind))}"
    match = EXPECTED.match(str(error))
    if not match:
        return str(error)
    kinds, bound, limit = match.groups()
    if bound:
        return f"it must be {BOUNDS[bound]} {limit}"
    names = [KINDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null"]
    return f"it must be {' or '.join(names)}"


def advice(name: str) -> str | None:
    """Return what helps to find a good value for a setting; None if there is nothing to say."""
    if name != "threads":
        return None
    count = os.cpu_count()
    return f"this machine has {count} CPU{'s' if count != 1 else ''}; without the setting, the fast ones are used"


def choices(kind: Any) -> tuple[str, ...]:
    """Return the words that a type allows, which are in a `Literal` somewhere in it."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    return next((found for part in get_args(kind) if (found := choices(part))), ())
