"""Tells pydantic's errors as sentences about a field of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgeinfer.errors import InvalidRequest, UnknownParameter
from edgeinfer.server.http.quoting import dotted, quoted, shortened

KINDS = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}
"""The types of JSON, by pydantic's name of the error."""

RULES = {
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_parsing_size": "must be a smaller number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "union_tag_invalid": "must have a {discriminator} out of {expected_tags}",
    "union_tag_not_found": "must have a {discriminator}",
}
"""Sentences with pydantic's details of the error."""


UNKNOWN_FIELD = "unknown_field"
"""The kind of error for an object with a field that is refused; the field is not in its place."""


def translated(error: ValidationError, raw: object, written: Mapping[str, str]) -> InvalidRequest:
    """The most helpful of pydantic's errors: those of the union branch that got furthest into `raw`.

    `written`: how the request calls those fields of `raw` that it calls otherwise.
    """
    found = [
        (path_in(raw, _place(e), missing=e["type"] == "missing"), e)
        for e in error.errors(include_url=False, include_input=False)
    ]
    path = max((path for path, _ in found), key=len)
    errors = [e for other, e in found if other == path]
    first, param = errors[0], dotted([*(written.get(str(field), field) for field in path[:1]), *path[1:]])
    if first["type"] == UNKNOWN_FIELD:
        return unknown_parameter(param, first["ctx"]["meant"])
    if first["type"] == "missing":
        return InvalidRequest(f"missing parameter: {quoted(param)}", param=param)
    return InvalidRequest(f"{param} {_rule(errors)}", param=param or None)


def unknown_parameter(path: str, meant: str | None) -> UnknownParameter:
    """The error for an unknown field; `meant`: the known one whose name is similar."""
    hint = f"did you mean {meant!r}?" if meant else None
    return UnknownParameter(f"unknown parameter: {quoted(path)}", param=shortened(path), hint=hint)


def _place(error: ErrorDetails) -> tuple[str | int, ...]:
    name = error["ctx"]["name"] if error["type"] == UNKNOWN_FIELD else None
    return error["loc"] if name is None else (*error["loc"], name)


def _rule(errors: Sequence[ErrorDetails]) -> str:
    """What the value must be. The branches of a union have an error each."""
    kinds = dict.fromkeys(KINDS[e["type"]] for e in errors if e["type"] in KINDS)
    rules = dict.fromkeys(_sentence(e) for e in errors if e["type"] not in KINDS)
    return ", or ".join([*rules, *([f"must be {' or '.join(kinds)}"] if kinds else [])])


def _sentence(error: ErrorDetails) -> str:
    # Our bounds on numbers are whole, and pydantic makes some of them floats.
    details = {name: int(v) if isinstance(v, float) else v for name, v in error.get("ctx", {}).items()}
    if rule := RULES.get(error["type"]):
        return rule.format_map(details)
    match error["type"]:
        case "too_short":
            return f"must have at least {_count(details['min_length'], 'item')}"
        case "too_long":
            return f"may have at most {_count(details['max_length'], 'item')}"
        case "string_too_short" if details["min_length"] == 1:
            return "must not be empty"
        case "string_too_short":
            return f"must have at least {_count(details['min_length'], 'character')}"
        case "string_too_long":
            return f"may have at most {_count(details['max_length'], 'character')}"
    return error["msg"].removeprefix("Value error, ")


def _count(number: int, noun: str) -> str:
    return f"one {noun}" if number == 1 else f"{number:,} {noun}s"


def path_in(raw: object, loc: Sequence[str | int], *, missing: bool) -> list[str | int]:
    """`loc` without the names that pydantic adds: those of union branches and of validators.

    `missing`: the last part of `loc` is a field that `raw` does not have.
    """
    path: list[str | int] = []
    for at, part in enumerate(loc):
        if isinstance(raw, dict) and isinstance(part, str):
            if part in raw:
                raw = raw[part]
            elif not missing or at < len(loc) - 1:
                continue
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        elif missing and at == len(loc) - 1 and path:
            path.pop()  # the branch of a union that has the name of a field, which the missing one stands beside
        else:
            continue
        path.append(part)
    return path
