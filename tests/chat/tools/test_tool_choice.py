"""Which tools an answer may call, and what their arguments are held to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeinfer.chat.tools.tool import choose, choose_one, distinct, find_tool, function_tool
from edgeinfer.errors import InvalidRequest
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar, GrammarSource
from tests.support.grammar import accepts
from tests.support.tools import read_tools

TOOLS = read_tools([{"function": {"name": name}} for name in "fgh"])


def test_a_mode_becomes_the_tools_that_may_be_called() -> None:
    """All or none, and whether one must be."""
    assert (TOOLS, False, True) == tuple(
        getattr(choose(TOOLS), name) for name in ("tools", "required", "parallel")
    )
    assert choose(TOOLS, "required").required
    assert () == choose(TOOLS, "none").tools
    assert not choose(TOOLS, parallel=False).parallel


def test_one_tool_is_called_once() -> None:
    """It must be, and may not be twice."""
    choice = choose_one(TOOLS, "g", where="tool_choice.name")
    assert (["g"], True, False) == ([tool.name for tool in choice.tools], choice.required, choice.parallel)


def test_a_tool_that_is_not_there_is_refused_by_its_field() -> None:
    """Whatever the family calls that."""
    with pytest.raises(InvalidRequest) as caught:
        find_tool(TOOLS, "x", where="tool_choice.name")
    assert "tool_choice.name" == caught.value.param


def test_a_call_of_nothing_cannot_be_required() -> None:
    """There would be no answer."""
    with pytest.raises(InvalidRequest) as caught:
        choose((), "required", where="tool_choice.type")
    assert "tool_choice.type" == caught.value.param


def test_errors_name_the_fields_of_the_family() -> None:
    """Anthropic's schemas are called otherwise."""
    function = {"name": "f", "parameters": {"type": "string"}}
    with pytest.raises(InvalidRequest) as caught:
        function_tool(function, where="tools.0", schema="input_schema")
    assert "tools.0.input_schema" == caught.value.param
    with pytest.raises(InvalidRequest) as caught:
        function_tool({"name": "a b"}, where="tools.0")
    assert "tools.0.name" == caught.value.param
    with pytest.raises(InvalidRequest) as caught:
        distinct(function_tool({"name": "f"}, where=f"tools.{n}") for n in range(2))
    assert "tools.1.name" == caught.value.param


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({}, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"type": "object"}, {"type": "object"}),
        (
            {"properties": {"a": {}}},
            {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
        ),
        (
            {"properties": {"a": {}}, "additionalProperties": True},
            {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        ),
        (
            {"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
            {"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
        ),
        (
            {"properties": {"a": {"type": "integer"}}, "required": ["model", "a"]},
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "model": {}},
                "required": ["model", "a"],
                "additionalProperties": False,
            },
        ),
        (
            {"properties": {}, "required": ["a"]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
        ),
        (
            {"properties": {"a": {}}, "dependentRequired": {"a": ["b"]}},
            {
                "type": "object",
                "properties": {"a": {}, "b": {}},
                "dependentRequired": {"a": ["b"]},
                "additionalProperties": False,
            },
        ),
        (
            {"properties": {"a": {}}, "minProperties": 2},
            {"type": "object", "properties": {"a": {}}, "minProperties": 2},
        ),
    ],
)
def test_parameters_are_closed_where_that_is_safe(schema: Any, expected: Any) -> None:
    """A model is not to make up arguments."""
    assert expected == function_tool({"name": "f", "parameters": schema}, where="tools[0]").parameters


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"properties": {"a": {"type": "integer"}}, "required": ["model"]}, {"model": 1}),
        ({"properties": {}, "required": ["a", "b"]}, {"a": [1], "b": {"c": None}}),
        ({"properties": {"a": {}}, "required": ["a"], "dependentRequired": {"a": ["b"]}}, {"a": 1, "b": 2}),
        ({"properties": {"a": {}}, "required": ["a"], "dependencies": {"a": ["b"]}}, {"a": 1, "b": 2}),
        ({"properties": {"a": {}}, "minProperties": 2}, {"a": 1, "b": 2}),
    ],
)
async def test_closing_leaves_every_schema_a_value(schema: Any, arguments: dict[str, Any]) -> None:
    """One tool of a server's forty would otherwise fail every request."""
    tool = function_tool({"name": "f", "parameters": schema}, where="tools[0]")
    compiler = GrammarCompiler(5.0)
    source = GrammarSource("arguments", "json_schema", dict(tool.parameters), tool.param)
    compiled = await compiler.compile(Grammar("start: @arguments", (source,)))
    await compiler.close()
    assert accepts(compiled.text, json.dumps(arguments))
