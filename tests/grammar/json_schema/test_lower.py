"""Each keyword is enforced as it is, narrowed, left to the check of the finished answer, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.errors import InvalidRequest, UnsupportedSchema
from edgeinfer.grammar.check import find_violation
from tests.support.grammar import accepts, compile_schema, sample, schema_source

OBJECT = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "allowed", "refused"),
    [
        ({**OBJECT, "dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({**OBJECT, "dependentSchemas": {"a": {"required": ["b"]}}}, [{}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({**OBJECT, "dependencies": {"a": ["b"]}}, [{}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({**OBJECT, "minProperties": 1}, [{"a": 1}, {"b": 1}, {"a": 1, "b": 2}], [{}]),
        ({**OBJECT, "maxProperties": 1}, [{}, {"a": 1}, {"b": 1}], [{"a": 1, "b": 2}]),
        ({**OBJECT, "not": {"required": ["a"]}}, [{}, {"b": 1}], [{"a": 1}]),
        ({**OBJECT, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1}, {"b": 1}], [{}, {"a": 1, "b": 1}]),
        ({**OBJECT, "propertyNames": {"enum": ["b"]}}, [{}, {"b": 1}], [{"a": 1}]),
        ({**OBJECT, "unevaluatedProperties": False}, [{"a": 1}], [{"c": 1}]),
        (
            {**OBJECT, "if": {"properties": {"a": {"minimum": 5}}, "required": ["a"]}, "then": {"required": ["b"]}},
            [{}, {"a": 4}, {"a": 5, "b": 1}],
            [{"a": 5}],
        ),
        (
            {"allOf": [{"properties": {"a": {"type": "null"}}}], "type": "object", "properties": {"b": {"type": "null"}},
             "unevaluatedProperties": False, "$schema": "https://json-schema.org/draft/2019-09/schema"},
            [{"b": None}, {"a": None, "b": None}],
            [{"c": None}, {"a": 1}],
        ),
        ({"type": "string", "not": {"const": "no"}}, ["n", "nob", "", "yes"], ["no"]),
        ({"type": "string", "not": {"enum": ["\"", "\\"]}}, ["a", "\"\""], ["\"", "\\"]),
        ({"not": {"type": ["object", "array"]}}, [1, "a", None], [{}, []]),
        ({"type": "integer", "not": {"minimum": 3}}, [2], [3]),
        ({"oneOf": [{"type": "integer"}, {"enum": [1, 2, "a"]}]}, [3, "a"], [1, 2]),
        ({"oneOf": [{"type": "string"}, {"enum": ["a", "b"]}]}, ["c"], ["a", "b"]),
        ({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}, [[], [2, 1]], [[1, 1]]),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2}, [[True, False]], [[True]]),
        ({"type": "array", "contains": {"const": 7}, "items": {"type": "integer"}}, [[7], [7, 1]], [[], [1]]),
        ({"type": "array", "contains": {"const": 7}, "maxContains": 1, "items": {"type": "integer"}}, [[7, 1]], [[7, 7]]),
        ({"type": "array", "items": [{"type": "null"}], "additionalItems": False}, [[], [None]], [[1], [None, None]]),
        ({"type": "string", "pattern": '^[^"]*$'}, ["a", "\\"], ['"']),
        ({"type": "string", "pattern": "^[^\\\\]*$"}, ["a", '"'], ["\\"]),
        ({"type": "string", "pattern": "^(?=.*\\d)(?=.*[a-z]).{3}$"}, ["a1b"], ["abc", "123", "a1"]),
        ({"type": "string", "pattern": "^\\W$"}, ["-", " "], ["a", "é", "_"]),
        ({"type": "string", "pattern": "^[a&&b]$"}, ["a", "&", "b"], ["c"]),
        ({"type": "object", "properties": {"abc": {"type": "null"}}, "additionalProperties": True}, [{"abc": None}, {"x": 1}], [{"abc": 1}]),
        ({"type": "integer", "maximum": 2**64}, [2**53], [2**53 + 1]),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, [4], [3]),
        ({"const": {"a": [1, None]}}, [{"a": [1, None]}], [{"a": [1]}]),
        ({"type": "string", "minimum": 3, "nullable": True}, ["a"], [None, 3]),
        ({"$ref": "#/definitions/x", "definitions": {"x": {"type": "null"}}, "type": "string",
          "$schema": "http://json-schema.org/draft-07/schema"}, [None], ["a"]),
        ({"type": "array", "items": False}, [[]], [[1]]),
        ({"type": "object", "properties": {"next": {"$ref": "#/$defs/endless"}}, "additionalProperties": False,
          "$defs": {"endless": {"type": "object", "properties": {"next": {"$ref": "#/$defs/endless"}}, "required": ["next"]}}},
         [{}], [{"next": {}}]),
    ],
)  # fmt: skip
def test_enforced(schema: Any, allowed: list[Any], refused: list[Any]) -> None:
    """The grammar alone enforces these schemas."""
    grammar = compile_schema(schema)
    assert {} == grammar.unenforced
    assert [True] * len(allowed) == [
        accepts(grammar.text, json.dumps(v, ensure_ascii=False)) for v in allowed
    ]
    assert [False] * len(refused) == [
        accepts(grammar.text, json.dumps(v, ensure_ascii=False)) for v in refused
    ]
    assert [None] * len(allowed) == [
        find_violation(schema_source(schema), json.dumps(value)) for value in allowed
    ]


def test_a_name_cannot_be_written_in_another_way() -> None:
    """An escaped name would let a listed property go unchecked."""
    schema = {"type": "object", "properties": {"abc": {"type": "null"}}, "additionalProperties": True}
    text = compile_schema(schema).text
    assert accepts(text, '{"xbc": 1}')
    assert not accepts(text, r'{"\u0061bc": 1}')


@pytest.mark.parametrize(
    ("schema", "pointers"),
    [
        ({"type": "array", "uniqueItems": True}, ["/uniqueItems"]),
        ({"type": "array", "contains": {"type": "null"}, "minContains": 99}, ["/contains"]),
        ({"type": "string", "pattern": "^(?!a)"}, ["/pattern"]),
        ({"type": "string", "pattern": r"\bword\b"}, ["/pattern"]),
        ({"type": "string", "pattern": r"(a)\1"}, ["/pattern"]),
        ({"type": "string", "maxLength": 10**6}, ["/maxLength"]),
        ({"type": "string", "not": {"pattern": "^a"}}, ["/not"]),
        ({"properties": {"a/b": {"if": {"pattern": "a"}, "then": False}}}, ["/properties/a~1b/if"]),
        ({"oneOf": [{"pattern": "a"}, {"pattern": "b"}]}, ["/oneOf"]),
        ({"type": "object", "minProperties": 2}, ["/minProperties"]),
        ({"type": "object", "properties": {"a": {}}, "minProperties": 2}, ["/minProperties"]),
        ({"type": "object", "patternProperties": {"^(?!x)": False, "^y": {}}}, ["/patternProperties/^(?!x)"]),
        ({"type": "object", "patternProperties": {"a": {"type": "null"}, "b": {"const": 1}}}, ["/patternProperties/b"]),
        ({"type": "object", "anyOf": [{"properties": {"a": True}}, True], "unevaluatedProperties": False}, ["/unevaluatedProperties"]),
        ({"allOf": [{"type": "array"}], "unevaluatedItems": False}, ["/unevaluatedItems"]),
        ({"type": "number", "minimum": 1e300}, ["/minimum"]),
        ({"type": "number", "multipleOf": 1e-20}, ["/multipleOf"]),
        ({"const": 2**60}, ["/const"]),
        ({"$defs": {"x": {"type": "object", "properties": {"a": {}, "b": {}}}}, "allOf": [{"$ref": "#/$defs/x"}, {"maxProperties": 1}]},
         ["/allOf/1/maxProperties"]),
        ({"type": "string", "allOf": [{"pattern": f".*{c}.{{40}}"} for c in "abc"]},
         ["/allOf/0/pattern", "/allOf/1/pattern", "/allOf/2/pattern"]),
    ],
)  # fmt: skip
def test_left_to_the_check(schema: Any, pointers: list[str]) -> None:
    """The compiled grammar names the keywords that it does not enforce."""
    assert tuple(pointers) == compile_schema(schema).unenforced["s0"]


@pytest.mark.parametrize(
    ("schema", "at"),
    [
        ({"properties": {"a": {"type": "strin"}}}, "/properties/a/type"),
        ({"properties": {"a": 5}}, "/properties"),
        ({"properties": []}, "/properties"),
        ({"required": "a"}, "/required"),
        ({"type": "object", "properties": {"a": {}}, "required": [["a"]]}, "/required"),
        ({"anyOf": []}, "/anyOf"),
        ({"minLength": -1}, "/minLength"),
        ({"multipleOf": 0}, "/multipleOf"),
        ({"items": "string"}, "/items"),
        ({"$defs": {"a b": {"$ref": "#/$defs/c"}}, "allOf": [{"$ref": "#/$defs/a%20b"}]}, "/$defs/a b/$ref"),
        ({"$ref": 5}, "/$ref"),
        ({"properties": {"a": {"$ref": "https://example.org/x.json"}}}, "/properties/a/$ref"),
        ({"items": {"$ref": "#missing"}}, "/items/$ref"),
        ({"type": "string", "pattern": "[a"}, "/pattern"),
        ({"$ref": "#"}, "the root"),
        ({"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}, {"type": "null"}]}}}, "/properties/a"),
        ({"not": {"$ref": "#"}}, "the root"),
        ({"items": {"if": {"$ref": "#/items"}, "then": False}}, "/items"),
        (False, "the root"),
        ({"type": "string", "enum": [1]}, "the root"),
        ({"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5}, "the root"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"allOf": [{"type": "null"}, {"type": "string"}]}}}, "/properties/a"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "/properties/a"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "the root"),
        ([], "the root"),
        ("string", "the root"),
    ],
)  # fmt: skip
def test_refused_with_the_place(schema: Any, at: str) -> None:
    """A schema that is malformed, refers elsewhere or cannot be satisfied is an error that names the place."""
    with pytest.raises(InvalidRequest) as caught:
        compile_schema(schema)
    assert caught.value.message.startswith(f"at {at}: "), caught.value.message
    assert "schema" == caught.value.param


def test_refused_rather_than_half_checked() -> None:
    """A schema is refused if the grammar does not enforce it and Python cannot check it."""
    schema = {"type": "array", "items": {"type": "string", "pattern": r"^\p{Lu}$"}, "uniqueItems": True}
    with pytest.raises(UnsupportedSchema, match="at /items/pattern: Python cannot read"):
        compile_schema(schema)
    del schema["uniqueItems"]
    assert accepts(compile_schema(schema).text, '["Ä"]')


def test_properties_come_in_the_schemas_order() -> None:
    """Properties from subschemas take their place in that order."""
    schema = {
        "allOf": [{"properties": {"first": {}}, "required": ["first"]}],
        "type": "object",
        "properties": {"second": {}, "third": {}},
        "required": ["third", "second"],
    }
    text = compile_schema(schema).text
    assert accepts(text, '{"first": 1, "second": 2, "third": 3}')
    assert not accepts(text, '{"second": 2, "first": 1, "third": 3}')


NAMES = st.sampled_from(["a", "b", "ab"])
VALUES = st.sampled_from([None, True, 0, 1, 2.5, "a", "b", '"', [1], {"a": 1}])


def optional(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def merged(*schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*schemas).map(lambda dicts: {k: v for d in dicts for k, v in d.items()})


SIZES = st.integers(0, 3)
SCALARS = optional(
    type=st.sampled_from(
        ["string", "integer", "number", "boolean", ["string", "null"], ["integer", "array"]]
    ),
    enum=st.lists(VALUES, min_size=1, max_size=3),
    minimum=st.integers(-3, 3),
    exclusiveMaximum=st.integers(-3, 9),
    multipleOf=st.sampled_from([2, 0.5, 3]),
    minLength=SIZES,
    maxLength=SIZES,
    pattern=st.sampled_from(["^a", "b$", '^[^"]*$', r"^\w+$", r"^(?=.*a)(?=.*\d)", "^(?!a)"]),
)


def composed(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(schemas, min_size=1, max_size=2)
    objects = merged(
        st.just({"type": "object"}),
        optional(
            properties=st.dictionaries(NAMES, schemas, max_size=3),
            required=st.lists(NAMES, max_size=2),
            additionalProperties=st.one_of(st.just(False), schemas),
            patternProperties=st.dictionaries(st.sampled_from(["^a", "b$"]), schemas, max_size=1),
            minProperties=SIZES,
            maxProperties=SIZES,
            propertyNames=st.sampled_from([{"maxLength": 1}, {"enum": ["a", "c"]}, {"pattern": "^b"}]),
            dependentRequired=st.dictionaries(NAMES, st.lists(NAMES, max_size=1), max_size=2),
            unevaluatedProperties=st.just(False),
        ),
    )
    arrays = merged(
        st.just({"type": "array"}),
        optional(
            items=schemas,
            prefixItems=some,
            minItems=SIZES,
            maxItems=SIZES,
            uniqueItems=st.just(True),
            contains=schemas,
            maxContains=SIZES,
        ),
    )
    places = {"anyOf": some, "oneOf": some, "allOf": some, "not": schemas}
    places |= {"if": schemas, "then": schemas, "else": schemas, "$ref": st.just("#/$defs/d")}
    return merged(st.one_of(SCALARS, objects, arrays), optional(**places))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    schema=st.recursive(SCALARS, composed, max_leaves=6),
    definition=st.recursive(SCALARS, composed, max_leaves=3),
)
def test_any_schema_is_enforced_checked_or_refused(schema: Any, definition: Any) -> None:
    """An answer that the grammar allows is valid, unless the grammar says what it does not enforce."""
    schema = {**schema, "$defs": {"d": definition}}
    try:
        grammar = compile_schema(schema)
    except InvalidRequest:
        return
    for seed in range(2):
        answer = sample(grammar.text, seed, length=50)
        if answer is not None and not grammar.unenforced:
            assert find_violation(schema_source(schema), answer) is None, answer
