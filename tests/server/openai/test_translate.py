"""OpenAI's messages and tools as those of `chat`."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.tools.tool import Tool, ToolChoice
from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.http.request_model import validate
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.server.openai.translate import to_messages, to_tool_choice, to_tools

USER = {"role": "user", "content": "Hi"}


def read(*messages: Any) -> list[Message]:
    return to_messages(validate(ChatRequest, {"messages": list(messages)}).messages)


def calling(arguments: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    call = {"id": "1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def function(name: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def tools(*definitions: Any) -> tuple[Tool, ...]:
    return to_tools(validate(ChatRequest, {"messages": [USER], "tools": list(definitions)}).tools or ())


def choose(choice: Any, names: str = "fgh", parallel: bool = True) -> ToolChoice:
    request = validate(
        ChatRequest,
        {"messages": [USER], "tools": [function(name) for name in names], "tool_choice": choice},
    )
    return to_tool_choice(request.tool_choice, to_tools(request.tools or ()), parallel=parallel)


def allowed(mode: str, *names: str) -> dict[str, Any]:
    references = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": references}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "a"}, "a"),
        ({"content": ""}, ""),
        ({"content": []}, ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": None, "refusal": "no"}, "no"),
        ({"content": "a", "refusal": "no"}, "a"),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "no"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]}, "a\nno"),
        ({"content": None, "reasoning_content": "Hm"}, ""),
    ],
)
def test_content_becomes_a_string(message: dict[str, Any], expected: str) -> None:
    """Parts of text are joined, null is nothing, and a refusal is what was said."""
    (translated,) = read({"role": "assistant", **message})
    assert expected == translated.content


def test_content_other_than_text_is_refused_by_its_place() -> None:
    """The error names the part."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(UnsupportedParameter, match="image_url") as caught:
        read(USER, {"role": "user", "content": parts})
    assert caught.value.param == "messages[1].content[1].type"


@pytest.mark.parametrize(
    ("role", "part", "place"),
    [("user", {"refusal": "no"}, "type"), ("assistant", {"refusal": 5}, "text"), ("assistant", {}, "type")],
)
def test_only_an_assistant_refuses_and_in_words(role: str, part: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(USER, {"role": role, "content": [{"type": "refusal", **part}]})
    assert caught.value.param == f"messages[1].content[0].{place}"


def test_roles_become_those_templates_know() -> None:
    """OpenAI's newer and older names."""
    messages = [{"role": role, "content": "x"} for role in ("developer", "user", "function")]
    assert ["system", "user", "tool"] == [message.role for message in read(*messages)]


@pytest.mark.parametrize("role", ["im_end|>", "ipython", "", None, 1])
def test_an_unknown_role_is_refused(role: Any) -> None:
    """Templates make control tokens of it."""
    with pytest.raises(InvalidRequest) as caught:
        read(USER, {"role": role, "content": "x"})
    assert caught.value.param == "messages[1].role"


def test_null_fields_are_absent_and_others_arrive() -> None:
    """`message.model_dump()` has nulls for everything that was not there."""
    message = {
        "role": "assistant",
        "content": "x",
        "tool_calls": None,
        "name": None,
        "reasoning_content": "r",
    }
    assert [Message(role="assistant", content="x", reasoning="r")] == read(message)


def test_a_call_arrives_with_its_arguments_as_an_object() -> None:
    """Whoever renders it may write them as text again."""
    (message,) = read(calling('{"a": "ü"}'))
    assert (ToolCall("f", {"a": "ü"}, "1"),) == message.tool_calls


@pytest.mark.parametrize("arguments", ["", "{}", {}, None])
def test_no_arguments_are_an_empty_object(arguments: Any) -> None:
    """Some models leave them out."""
    (message,) = read(calling(arguments))
    assert {} == message.tool_calls[0].arguments


def test_arguments_may_be_an_object() -> None:
    """Clients that know Ollama's API send them so."""
    (message,) = read(calling({"a": 1}))
    assert {"a": 1} == message.tool_calls[0].arguments


@pytest.mark.parametrize(
    "arguments",
    [
        "{",
        '{"',
        '{"a": "x',
        "[1]",
        "1",
        "no JSON",
        "[" * 100_000,
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": 1' + "0" * 400 + "}",
        '{"a": [' + "[]," * 70_000 + "[]]}",
    ],
)
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    """An answer that was cut has such a call, and can be sent back."""
    (message,) = read(calling(arguments))
    assert arguments == message.tool_calls[0].arguments


@pytest.mark.parametrize("arguments", [1, [1], True])
def test_arguments_of_another_type_are_refused(arguments: Any) -> None:
    """The error names the place."""
    with pytest.raises(InvalidRequest) as caught:
        read(USER, calling(arguments))
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


def test_a_function_call_of_the_older_api() -> None:
    """A call without an id, and its result."""
    call, result = read(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "r"},
    )
    assert (ToolCall("f", {}),) == call.tool_calls
    assert ("tool", "f", None) == (result.role, result.name, result.tool_call_id)


@pytest.mark.parametrize("role", ["assistant", "tool", "function"])
def test_null_content_is_empty(role: str) -> None:
    """An answer that was cut at once has none. A message that does not even say so is a mistake."""
    (message,) = read({"role": role, "content": None})
    assert "" == message.content
    with pytest.raises(InvalidRequest) as caught:
        read({"role": role})
    assert caught.value.param == "messages[0].content"


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_null_content_of_a_question_is_refused(role: str) -> None:
    """There is nothing to answer."""
    with pytest.raises(InvalidRequest) as caught:
        read({"role": role, "content": None})
    assert caught.value.param == "messages[0].content"


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ("x", ""),
        ({}, ".function"),
        ({"function": {}}, ".function.name"),
        ({"function": {"name": 1, "arguments": ""}}, ".function.name"),
    ],
)
def test_a_call_without_a_function_is_refused(call: Any, param: str) -> None:
    """The error names the place."""
    with pytest.raises(InvalidRequest) as caught:
        read(USER, {"role": "assistant", "tool_calls": [call]})
    assert caught.value.param == f"messages[1].tool_calls[0]{param}"


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
    chosen = choose(choice)
    assert (names, required) == ("".join(tool.name for tool in chosen.tools), chosen.required)


def test_one_call_only() -> None:
    """Where a caller says so, or names the function."""
    assert choose(None).parallel
    assert not choose("required", parallel=False).parallel
    assert not choose({"type": "function", "function": {"name": "g"}}).parallel


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("always", "tool_choice"),
        (1, "tool_choice"),
        ({"type": "x"}, "tool_choice"),
        ({"type": "function", "function": {"name": "x"}}, "tool_choice.function.name"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (allowed("none", "f"), "tool_choice.allowed_tools.mode"),
        (allowed("auto"), "tool_choice.allowed_tools.tools"),
        (allowed("auto", "f", "x"), "tool_choice.allowed_tools.tools[1].function.name"),
    ],
)
def test_other_choices_are_refused(choice: Any, param: str) -> None:
    """By the field."""
    with pytest.raises(InvalidRequest) as caught:
        choose(choice)
    assert param == caught.value.param


def test_a_call_of_nothing_cannot_be_required() -> None:
    """There would be no answer."""
    with pytest.raises(InvalidRequest):
        choose("required", "")


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({}, "tools[0].type"),
        ({"type": "web_search"}, "tools[0].type"),
        (function(None), "tools[0].function.name"),
        (function("a b"), "tools[0].function.name"),
        (function("x" * 129), "tools[0].function.name"),
        (function("f\n"), "tools[0].function.name"),
        (function(""), "tools[0].function.name"),
        (function("f", parameters=[]), "tools[0].function.parameters"),
        (function("f", parameters={"type": "string"}), "tools[0].function.parameters"),
        (function("f", parameters={"properties": []}), "tools[0].function.parameters"),
        (function("f", parameters={"required": [{}]}), "tools[0].function.parameters"),
    ],
)
def test_what_is_no_tool_is_refused(tool: Any, param: str) -> None:
    """By the field."""
    with pytest.raises(InvalidRequest) as caught:
        tools(tool)
    assert param == caught.value.param


def test_a_name_may_have_dots_and_dashes() -> None:
    """MCP's clients make names such as `files.read`."""
    (tool,) = tools(function("files.read-all_2"))
    assert "files.read-all_2" == tool.name


def test_a_name_means_one_tool() -> None:
    """A call could not say which."""
    with pytest.raises(InvalidRequest) as caught:
        tools(function("f"), function("g"), function("f"))
    assert "tools[2].function.name" == caught.value.param


def test_templates_see_a_tool_as_the_caller_wrote_it() -> None:
    """Its schema is closed for the grammar only."""
    definition = function("f", description="d", parameters={"properties": {"a": {}}}, strict=True)
    (tool,) = tools(definition)
    assert definition == tool.definition
    assert "additionalProperties" in tool.parameters
