"""Checks finished answers against the caller's own JSON schema, with the jsonschema library."""

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
from edgeinfer.grammar.source import GrammarSource

MAX_MESSAGE_LENGTH = 300


def find_violation(source: GrammarSource, text: str) -> str | None:
    """Return the first error in `text` and where it is; None if `text` is valid. Formats are not asserted."""
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as e:
        return f"the answer is not valid JSON: {e}"
    schema = json.loads(source.content)
    error = best_match(make_validator(schema).iter_errors(value))
    if error is None:
        return None
    message = error.message
    if len(message) > MAX_MESSAGE_LENGTH:
        message = message[:MAX_MESSAGE_LENGTH] + "…"
    return f"at {pointer('', *error.absolute_path) or 'the root'}: {message}"


def make_validator(schema: Any) -> Validator:
    """Build a validator for the draft that the schema names. Its registry is empty, so nothing is fetched."""
    base = validator_for(schema, default=_AnyDraftValidator) if draft_of(schema) else _AnyDraftValidator
    validator: Validator = _extend(base, {"multipleOf": _multiple_of})(schema, registry=Registry())
    return validator


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in JSON")


Errors = Iterator[ValidationError]

_extend: Any = extend  # ships without types


def _multiple_of(validator: Any, step: Any, instance: Any, _: Any) -> Errors:
    """Compare as decimals: 0.3 is a multiple of 0.1, which jsonschema's floats deny."""
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
        for name, dependency in dependencies.items():
            if name in instance:
                rule = {"required": dependency} if isinstance(dependency, list) else dependency
                yield from validator.descend(instance, rule, schema_path=name)


def _exclusive_bound(keyword: str, inclusive: str) -> Any:
    def check(validator: Any, bound: Any, instance: Any, schema: Any) -> Errors:
        if isinstance(bound, bool):
            if bound and validator.is_type(instance, "number") and instance == schema.get(inclusive):
                yield ValidationError(f"{instance!r} is the {inclusive}, which is excluded")
        else:
            yield from Draft202012Validator.VALIDATORS[keyword](validator, bound, instance, schema)

    return check


_AnyDraftValidator = _extend(
    Draft202012Validator,
    {
        "items": _items,
        "dependencies": _dependencies,
        "exclusiveMinimum": _exclusive_bound("exclusiveMinimum", "minimum"),
        "exclusiveMaximum": _exclusive_bound("exclusiveMaximum", "maximum"),
    },
)
"""For schemas that name no draft: keywords of old drafts keep their old meaning, as in `keywords`."""
