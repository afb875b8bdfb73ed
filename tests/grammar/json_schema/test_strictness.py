"""Plain schemas are closed; schemas that another keyword applies to stay as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgeinfer.grammar.json_schema.strictness import MAX_SAFE_INTEGER, make_strict

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CLOSED = {**NAME, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "narrower"),
    [
        (NAME, CLOSED),
        ({"type": "array", "items": NAME}, {"type": "array", "items": CLOSED}),
        ({"anyOf": [NAME, {"type": "null"}]}, {"anyOf": [CLOSED, {"type": "null"}]}),
        (
            {"$defs": {"n": NAME}, "type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}},
            {
                "$defs": {"n": CLOSED},
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/n"}},
                "additionalProperties": False,
            },
        ),
        ({"type": "integer"}, {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER}),
        ({"type": "integer", "minimum": 5}, {"type": "integer", "minimum": 5, "maximum": MAX_SAFE_INTEGER}),
    ],
    ids=["an object", "items", "alternatives", "a definition", "an integer", "half a range"],
)
def test_a_plain_schema_is_closed(schema: Any, narrower: Any) -> None:
    before = copy.deepcopy(schema)
    assert make_strict(schema) == narrower
    assert schema == before


@pytest.mark.parametrize(
    "schema",
    [
        {**NAME, "additionalProperties": True},
        {**NAME, "additionalProperties": {"type": "string"}},
        {**NAME, "patternProperties": {"^x": {}}},
        {**NAME, "required": ["name", "other"]},
        {**NAME, "minProperties": 2},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"allOf": [NAME, {"required": ["other"]}]},
        {"oneOf": [NAME, {"type": "object", "properties": {"x": {"type": "null"}}}]},
        {**NAME, "if": {"required": ["other"]}, "then": {"required": ["third"]}},
        {"not": NAME},
        {"$defs": {"n": NAME}, "allOf": [{"$ref": "#/$defs/n"}, {"required": ["other"]}]},
        {"$defs": {"n": NAME}, "$ref": "#/$defs/n", "required": ["other"]},
        {"properties": {"a": NAME}, "allOf": [{"properties": {"a": {"required": ["other"]}}}]},
        {"$ref": "#/$defs/x/properties/y", "$defs": {"x": {"properties": {"y": {"allOf": [NAME]}}}}},
        {"properties": {"a": NAME}, "anyOf": [{"$ref": "#/properties/a", "required": ["other"]}]},
        {"type": "array", "items": NAME, "$defs": {"n": {"$ref": "#/items", "required": ["other"]}}},
        {"type": "integer", "minimum": 2**60},
        {"type": "integer", "multipleOf": 10**20},
        True,
        False,
        {"properties": 5},
    ],
)
def test_a_schema_that_another_keyword_applies_to_stays_open(schema: Any) -> None:
    assert make_strict(schema) == schema


def test_a_definition_that_is_also_combined_stays_open() -> None:
    schema = {
        "$defs": {"n": NAME},
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/n"},
            "b": {"allOf": [{"$ref": "#/$defs/n"}, {"required": ["c"]}]},
        },
    }
    assert make_strict(schema)["$defs"]["n"] == NAME


def test_schemas_within_a_closed_schema_are_closed() -> None:
    """A tool's parameters are such a schema, when they are made of nested classes."""
    schema = {
        "$defs": {"n": NAME},
        "type": "object",
        "properties": {"a": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}, "b": NAME},
        "additionalProperties": False,
    }
    strict = make_strict(schema)
    assert strict["$defs"]["n"]["additionalProperties"] is False
    assert strict["properties"]["b"]["additionalProperties"] is False
