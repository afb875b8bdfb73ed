"""Which tools an answer may call."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.chat.tools.tool import choose, read_tools
from edgeinfer.errors import InvalidRequest


def function(name: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


TOOLS = read_tools([function("f"), function("g"), function("h")])


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize(
    ("choice", "names", "required"),
    [
        (None, "fgh", False),
        ("auto", "fgh", False),
        ("required", "fgh", True),
        ("none", "", False),
        ({"type": "function", "function": {"name": "g"}}, "g", True),
        (allowed("auto", "h", "f"), "fh", False),
        (allowed("required", "g"), "g", True),
    ],
)
def test_choices(choice: Any, names: str, required: bool) -> None:
    """OpenAI's, each as the tools that may be called and whether one must be."""
    found = choose(TOOLS, choice)
    assert (names, required) == ("".join(tool.name for tool in found.tools), found.required)


def test_one_call_only() -> None:
    """Where a caller says so, or names the function."""
    assert choose(TOOLS).parallel
    assert not choose(TOOLS, "required", parallel=False).parallel
    assert not choose(TOOLS, {"type": "function", "function": {"name": "g"}}).parallel


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("always", "tool_choice"),
        (1, "tool_choice"),
        ({"type": "x"}, "tool_choice"),
        ({"type": "function", "function": {"name": "x"}}, "tool_choice.function.name"),
        ({"type": "function"}, "tool_choice.function.name"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (allowed("none", "f"), "tool_choice.allowed_tools"),
        (allowed("auto"), "tool_choice.allowed_tools"),
        (allowed("auto", "f", "x"), "tool_choice.allowed_tools.tools[1].function.name"),
    ],
)
def test_other_choices_are_refused(choice: Any, param: str) -> None:
    """By the field."""
    with pytest.raises(InvalidRequest) as caught:
        choose(TOOLS, choice)
    assert param == caught.value.param


def test_a_call_of_nothing_cannot_be_required() -> None:
    """There would be no answer."""
    with pytest.raises(InvalidRequest):
        choose((), "required")


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({}, "tools[0]"),
        ({"type": "web_search"}, "tools[0]"),
        (function(None), "tools[0].function.name"),
        (function("a b"), "tools[0].function.name"),
        (function("x" * 65), "tools[0].function.name"),
        (function("f", parameters=[]), "tools[0].function.parameters"),
        (function("f", parameters={"type": "string"}), "tools[0].function.parameters"),
        (function("f", parameters={"properties": []}), "tools[0].function.parameters"),
        (function("f", parameters={"required": [{}]}), "tools[0].function.parameters"),
    ],
)
def test_what_is_no_tool_is_refused(tool: Any, param: str) -> None:
    """By the field."""
    with pytest.raises(InvalidRequest) as caught:
        read_tools([tool])
    assert param == caught.value.param


def test_a_name_means_one_tool() -> None:
    """A call could not say which."""
    with pytest.raises(InvalidRequest) as caught:
        read_tools([function("f"), function("g"), function("f")])
    assert "tools[2].function.name" == caught.value.param


@pytest.mark.parametrize(
    ("given", "expected"),
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
    ],
)
def test_parameters_are_closed_where_that_is_safe(given: Any, expected: Any) -> None:
    """A model is not to make up arguments."""
    (tool,) = read_tools([function("f", parameters=given)])
    assert expected == tool.parameters
