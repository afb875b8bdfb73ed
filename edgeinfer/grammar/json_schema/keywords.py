"""Validates the form of JSON Schema's keywords, draft by draft, and selects those in effect.

A `path` is a JSON pointer to a schema within the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from edgeinfer.errors import UnsupportedSchema

DRAFT = re.compile(r"json-schema\.org/draft[-/](0?[467]|2019-09|2020-12)\b")
NEWEST = 2020
"""The newest draft; drafts are numbered 4, 6, 7, 2019, 2020."""


def pointer(path: str, *steps: str | int) -> str:
    """Extend a JSON pointer by steps."""
    return path + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def location(path: str) -> str:
    """Name a place in a schema for messages."""
    return f"at {path or 'the root'}"


def schema_error(path: str, message: str, hint: str | None = None) -> UnsupportedSchema:
    """Return an error about one place in a schema."""
    return UnsupportedSchema(f"{location(path)}: {message}", hint=hint)


def draft_of(root: Any) -> int | None:
    """Return the draft that a schema names, or None."""
    uri = root.get("$schema") if isinstance(root, dict) else None
    match = DRAFT.search(uri) if isinstance(uri, str) else None
    return int(match[1].partition("-")[0]) if match else None


def _is_schema(value: Any) -> bool:
    return isinstance(value, bool | dict)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and float(value).is_integer()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_schema, value))


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


def _is_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    known = {"null", "boolean", "integer", "number", "string", "array", "object"}
    return _is_texts(names) and bool(names) and set(names) <= known


_SCHEMA = (_is_schema, "a schema, which is an object or a boolean")
_SCHEMAS = (lambda v: _is_schemas(v) and bool(v), "an array of at least one schema")
_MAP = (_is_map, "an object of schemas")
_COUNT = (_is_count, "an integer of at least 0")
_NUMBER = (_is_number, "a number")
_TEXT = (_is_text, "a string")
_BOOLEAN = (lambda v: isinstance(v, bool), "a boolean")

KeywordForm = tuple[Callable[[Any], bool], str]
"""A test of a keyword's value, and what the value must be, for messages."""

KEYWORDS: dict[str, tuple[int, KeywordForm]] = {
    "$ref": (4, _TEXT),
    "type": (4, (_is_types, "the name of a type, or an array of such names")),
    "enum": (4, (lambda v: isinstance(v, list), "an array")),
    "const": (6, (lambda _: True, "")),
    "allOf": (4, _SCHEMAS),
    "anyOf": (4, _SCHEMAS),
    "oneOf": (4, _SCHEMAS),
    "not": (4, _SCHEMA),
    "if": (7, _SCHEMA),
    "then": (7, _SCHEMA),
    "else": (7, _SCHEMA),
    "properties": (4, _MAP),
    "patternProperties": (4, _MAP),
    "additionalProperties": (4, _SCHEMA),
    "required": (4, (_is_texts, "an array of strings")),
    "minProperties": (4, _COUNT),
    "maxProperties": (4, _COUNT),
    "propertyNames": (6, _SCHEMA),
    "dependencies": (
        4,
        (
            lambda v: isinstance(v, dict) and all(_is_schema(d) or _is_texts(d) for d in v.values()),
            "an object of schemas and arrays of strings",
        ),
    ),
    "dependentRequired": (
        2019,
        (lambda v: isinstance(v, dict) and all(map(_is_texts, v.values())), "an object of arrays of strings"),
    ),
    "dependentSchemas": (2019, _MAP),
    "unevaluatedProperties": (2019, _SCHEMA),
    "prefixItems": (2020, _SCHEMAS),
    "items": (4, (lambda v: _is_schema(v) or _is_schemas(v), "a schema or an array of schemas")),
    "additionalItems": (4, _SCHEMA),
    "contains": (6, _SCHEMA),
    "minContains": (2019, _COUNT),
    "maxContains": (2019, _COUNT),
    "minItems": (4, _COUNT),
    "maxItems": (4, _COUNT),
    "uniqueItems": (4, _BOOLEAN),
    "unevaluatedItems": (2019, _SCHEMA),
    "minLength": (4, _COUNT),
    "maxLength": (4, _COUNT),
    "pattern": (4, _TEXT),
    "format": (4, _TEXT),
    "minimum": (4, _NUMBER),
    "maximum": (4, _NUMBER),
    "exclusiveMinimum": (4, (lambda v: isinstance(v, int | float), "a number")),
    "exclusiveMaximum": (4, (lambda v: isinstance(v, int | float), "a number")),
    "multipleOf": (4, (lambda v: _is_number(v) and v > 0, "a number above 0")),
    "$dynamicRef": (2020, _TEXT),
    "$recursiveRef": (2019, _TEXT),
}
"""Keyword -> the draft that introduced it, and its form. All others do not restrict values."""

REMOVED_IN_2020 = {"dependencies", "additionalItems", "$recursiveRef"}
"""Keywords that draft 2020-12 removed. A schema that names no draft may still use them."""


PYTHON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}


def _form_hint(keyword: str, value: Any) -> str | None:
    """What to write instead of a value that other programs take."""
    if value is None:
        return f"leave {keyword} out"
    if keyword != "type" or not isinstance(value, str):
        return None
    if _is_types(value.lower()):
        return f'write "{value.lower()}", in lower case'
    return f'write "{PYTHON_TYPES[value]}"' if value in PYTHON_TYPES else None


def effective_keywords(raw: dict[str, Any], path: str, draft: int | None) -> dict[str, Any]:
    """Return the keywords of `raw` that restrict values. Raises UnsupportedSchema for a malformed one.

    `draft` is None for a schema that names none: all keywords, old and new, have the meaning of their own draft.
    """
    if "$ref" in raw and draft is not None and draft <= 7:
        raw = {"$ref": raw["$ref"]}  # these drafts ignore its siblings
    effective = {}
    for keyword, value in raw.items():
        since, (is_valid, form) = KEYWORDS.get(keyword, (9999, _TEXT))
        if since > (draft or NEWEST) or (draft == NEWEST and keyword in REMOVED_IN_2020):
            continue
        if not is_valid(value):
            raise schema_error(
                pointer(path, keyword), f"{keyword} must be {form}", _form_hint(keyword, value)
            )
        effective[keyword] = value
    return effective
