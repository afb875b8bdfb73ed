"""A schema that cannot be used says which part of it is wrong, and what to write."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.errors import UnsupportedSchema
from edgeinfer.grammar.json_schema.lower import lower

TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": False}, "required": ["a"]},
         "at the root: the property 'a' is required, and its schema is false"),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["a", "b"], "additionalProperties": False},
         "at the root: the property 'b' is required, but not allowed"),
        ({"type": "object", "required": ["c"], "properties": {"c": {"type": "object", "properties": {},
          "required": ["d"], "additionalProperties": False}}},
         "at /properties/c: the property 'd' is required, but not allowed"),
        ({"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]},
         "at /properties/a: enum is empty"),
        ({"type": "array", "minItems": 1, "items": False}, "at the root: no value satisfies the schema"),
        (False, "at the root: the schema is false"),
    ],
)  # fmt: skip
def test_a_schema_that_allows_nothing_says_why(schema: Any, message: str) -> None:
    """With the property that must be there and cannot."""
    with pytest.raises(UnsupportedSchema) as e:
        lower(schema)
    assert e.value.message.startswith(message)


@pytest.mark.parametrize(
    ("schema", "place", "hint"),
    [
        ({"type": "OBJECT"}, "/type", 'write "object", in lower case'),
        ({"type": "object", "properties": {"a": {"type": "String"}}}, "/properties/a/type", 'write "string", in'),
        ({"type": "object", "properties": {"a": {"type": "int"}}}, "/properties/a/type", 'write "integer"'),
        ({"type": "object", "required": None}, "/required", "leave required out"),
        ({"type": "object", "properties": None}, "/properties", "leave properties out"),
        ({"type": "string", "enum": None}, "/enum", "leave enum out"),
    ],
)  # fmt: skip
def test_what_other_programs_write_is_told_in_ours(schema: Any, place: str, hint: str) -> None:
    """Gemini writes types in capitals, Python has other names, and many write null for nothing."""
    with pytest.raises(UnsupportedSchema) as e:
        lower(schema)
    assert e.value.message.startswith(f"at {place}: ")
    assert (e.value.hint or "").startswith(hint)
