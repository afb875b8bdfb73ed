"""Finished answers under the caller's own JSON schema, by the jsonschema library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry

from edgeinfer.grammar.json_schema.keywords import draft_of, pointer
from edgeinfer.grammar.source import Part

MAX_MESSAGE = 300


def violation(part: Part, text: str) -> str | None:
    """What is wrong with `text`, and where in it; None if it is valid. Formats are not asserted."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as e:
        return f"the answer is no JSON: {e}"
    schema = json.loads(part.source)
    error = best_match(validator(schema).iter_errors(value))
    if error is None:
        return None
    message = error.message if len(error.message) <= MAX_MESSAGE else error.message[:MAX_MESSAGE] + "…"
    return f"at {pointer('', *error.absolute_path) or 'the root'}: {message}"


def validator(schema: Any) -> Validator:
    """For the draft that the schema names. An empty registry: nothing is fetched."""
    known = validator_for(schema, default=_Undated) if draft_of(schema) else _Undated
    found: Validator = _extend(known, {"multipleOf": _multiple_of})(schema, registry=Registry())
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


Errors = Iterator[ValidationError]

_extend: Any = extend  # is shipped without types


def _multiple_of(validator: Any, step: Any, instance: Any, _: Any) -> Errors:
    """In decimal: 0.3 is a multiple of 0.1, other than in jsonschema's floats."""
    finite = validator.is_type(instance, "number") and abs(instance) < float("inf")
    if finite and Fraction(repr(instance)) % Fraction(repr(step)):
        yield ValidationError(f"{instance!r} is not a multiple of {step}")


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Errors:
    if not isinstance(items, list):
        yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)
    elif validator.is_type(instance, "array"):
        for n, (item, rule) in enumerate(zip(instance, items, strict=False)):
            yield from validator.descend(item, rule, path=n, schema_path=n)
        if "additionalItems" in schema:
            for n, item in enumerate(instance[len(items) :], len(items)):
                yield from validator.descend(item, schema["additionalItems"], path=n)


def _dependencies(validator: Any, dependencies: Any, instance: Any, _: Any) -> Errors:
    if validator.is_type(instance, "object"):
        for name, then in dependencies.items():
            if name in instance:
                rule = {"required": then} if isinstance(then, list) else then
                yield from validator.descend(instance, rule, schema_path=name)


def _bound(keyword: str, inclusive: str) -> Any:
    def check(validator: Any, bound: Any, instance: Any, schema: Any) -> Errors:
        if isinstance(bound, bool):
            if bound and validator.is_type(instance, "number") and instance == schema.get(inclusive):
                yield ValidationError(f"{instance!r} is the {inclusive}, which is excluded")
        else:
            yield from Draft202012Validator.VALIDATORS[keyword](validator, bound, instance, schema)

    return check


_Undated = _extend(
    Draft202012Validator,
    {
        "items": _items,
        "dependencies": _dependencies,
        "exclusiveMinimum": _bound("exclusiveMinimum", "minimum"),
        "exclusiveMaximum": _bound("exclusiveMaximum", "maximum"),
    },
)
"""For schemas that name no draft: old keywords mean what they used to, as in `keywords`."""
