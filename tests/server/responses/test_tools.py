"""Tools in the Responses API: functions, custom tools, namespaces, and what is skipped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI
from openai.types.responses import ResponseInputParam

from tests.support.responses import CALLING, THINKING_AND_CALLING, WEATHER, ResponsesWorld, call
from tests.support.server import error

SQL: dict[str, Any] = {"type": "custom", "name": "sql", "description": "Runs a query"}
DIGITS = {"type": "grammar", "syntax": "regex", "definition": "[0-9]+"}
LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "SELECT " /.+/'}
MCP: dict[str, Any] = {
    "type": "namespace",
    "name": "files",
    "description": "Files",
    "tools": [{"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}}],
}


@pytest.fixture(autouse=True)
def calling(world: ResponsesWorld) -> None:
    world.engine.model = CALLING


def calls_of(world: ResponsesWorld, text: str, **fields: Any) -> list[dict[str, Any]]:
    """The output of an answer with this text."""
    world.engine.pieces = tuple(text)
    output: list[dict[str, Any]] = world.post(**fields).json()["output"]
    return output


def test_a_call_goes_round_with_the_thoughts_before_it(client: OpenAI, world: ResponsesWorld) -> None:
    """As OpenAI's guide has it: the output is appended to the input, and then the result."""
    world.engine.model = THINKING_AND_CALLING
    world.engine.pieces = (*"I need the weather.</think>", *call("weather", {"place": "Rome"}))
    conversation: ResponseInputParam = [{"role": "user", "content": "Rome?"}]
    include: Any = ["reasoning.encrypted_content"]
    tools: Any = [WEATHER]
    first = client.responses.create(
        model="scripted", input=conversation, tools=tools, include=include, store=False
    )
    _, made = first.output
    assert made.type == "function_call"
    assert (made.name, json.loads(made.arguments)) == ("weather", {"place": "Rome"})
    conversation += [item.to_dict() for item in first.output]  # type: ignore[misc]
    conversation.append({"type": "function_call_output", "call_id": made.call_id, "output": "sunny"})
    world.engine.pieces = ("ok</think>", "It is sunny.")
    second = client.responses.create(model="scripted", input=conversation, tools=tools, store=False)
    assert second.output_text == "It is sunny."
    assert "[user]Rome?\n[assistant]<think>I need the weather.</think><tool_call>" in world.prompt()
    assert world.prompt().endswith("[tool]sunny\n[assistant]<think>")


@pytest.mark.parametrize("keep", ["summary", "content", "encrypted_content"])
def test_thoughts_come_back_by_whatever_the_client_kept(world: ResponsesWorld, keep: str) -> None:
    """Each of the three is enough. What another provider encrypted says nothing."""
    world.engine.model, world.engine.pieces = THINKING_AND_CALLING, ("hmm", "</think>", "Yes")
    summary = {"summary": "auto"} if keep == "summary" else None
    thoughts, message = world.post(include=["reasoning.encrypted_content"], reasoning=summary).json()[
        "output"
    ]
    kept = {"type": "reasoning", "summary": [], keep: thoughts[keep]}
    again = {"role": "user", "content": "Sure?"}
    world.post(input=[{"role": "user", "content": "Hi"}, kept, message, again])
    assert "[assistant]<think>hmm</think>Yes\n[user]Sure?" in world.prompt()
    world.post(input=[{"type": "reasoning", "summary": [], "encrypted_content": "gAAAAAB"}, message, again])
    assert world.prompt().startswith("[assistant]Yes\n")


def test_a_custom_tool_is_called_with_a_text(world: ResponsesWorld) -> None:
    """Streamed as OpenAI does, and taken back with its result."""
    query = 'SELECT "a"\nFROM b'
    world.engine.pieces = tuple(call("sql", {"input": query}))
    events = world.stream(tools=[SQL])
    assert [event["type"] for event in events[2:-1]] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    item = events[-2]["item"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "sql", query)
    result = {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "1 row"}
    world.post(input=[{"role": "user", "content": "Go"}, item, result], tools=[SQL])
    assert '{"name": "sql", "arguments": {"input": "SELECT \\"a\\"\\nFROM b"}}' in world.prompt()
    assert "[tool]1 row" in world.prompt()


def test_a_regular_expression_of_a_custom_tool_is_enforced(world: ResponsesWorld) -> None:
    """It is part of the grammar. One in Lark is shown to the model, and a header says that this is all."""
    enforced = world.post(tools=[{**SQL, "format": DIGITS}])
    assert "X-Edgeinfer-Ignored" not in enforced.headers
    assert "[0-9]+" in str(world.engine.structured.grammar)
    shown = world.post(tools=[{**SQL, "format": LARK}])
    assert shown.headers["X-Edgeinfer-Ignored"] == "tools[0].format (lark)"
    assert 'start: \\"SELECT' in world.prompt()
    refused = world.post(tools=[{**SQL, "format": {**DIGITS, "definition": "("}}])
    assert refused.status_code == 400
    assert str(error(refused)["param"]).startswith("tools[0].format.definition")


def test_tools_of_a_namespace_keep_it(world: ResponsesWorld) -> None:
    """The model knows them by one name, the client by two."""
    (item,) = calls_of(world, call("files.read", {}), tools=[MCP])
    assert (item["namespace"], item["name"]) == ("files", "read")
    result = {"type": "function_call_output", "call_id": item["call_id"], "output": "text"}
    world.post(input=[{"role": "user", "content": "Go"}, item, result], tools=[MCP])
    assert '{"name": "files.read", "arguments": {}}' in world.prompt()


def test_a_result_may_be_parts(world: ResponsesWorld) -> None:
    """Each on a line."""
    made = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"place": "Rome"}'}
    parts = [{"type": "input_text", "text": "sunny"}, {"type": "input_text", "text": "30 degrees"}]
    world.post(
        input=[
            {"role": "user", "content": "Rome?"},
            made,
            {"type": "function_call_output", "call_id": "c1", "output": parts},
        ],
        tools=[WEATHER],
    )
    assert "[tool]sunny\n30 degrees\n" in world.prompt()


def test_tools_that_a_provider_runs_are_skipped_and_named(world: ResponsesWorld) -> None:
    """In the response's header; the response repeats them."""
    others = [{"type": kind} for kind in ("web_search", "image_generation", "local_shell", "file_search")]
    mcp = {"type": "mcp", "server_label": "x", "server_url": "https://example.org"}
    response = world.post(tools=[*others, mcp, WEATHER])
    assert response.status_code == 200
    names = ("web_search", "image_generation", "local_shell", "file_search", "mcp")
    assert response.headers["x-edgeinfer-ignored"] == ", ".join(f"tools ({name})" for name in names)
    assert response.json()["tools"] == [*others, mcp, WEATHER]
    assert "web_search" not in world.prompt()
    assert "weather" in world.prompt()


def test_items_that_say_nothing_here_are_skipped_and_named(world: ResponsesWorld) -> None:
    """A search of the provider's, for example; a kind that is no plain name is only counted as another."""
    items = [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
        {"type": "evil\r\nx-header: 1"},
        {"role": "user", "content": "Hi"},
    ]
    response = world.post(input=items)
    assert response.headers["x-edgeinfer-ignored"] == "input[0] (web_search_call), input[1] (other)"
    assert "x-header" not in response.headers
    assert world.prompt() == "[user]Hi\n[assistant]"


@pytest.mark.parametrize(
    ("choice", "allowed", "required"),
    [
        ("auto", {"weather", "sql", "files.read"}, False),
        ("required", {"weather", "sql", "files.read"}, True),
        ({"type": "function", "name": "weather"}, {"weather"}, True),
        ({"type": "custom", "name": "sql"}, {"sql"}, True),
        ({"type": "function", "name": "read", "namespace": "files"}, {"files.read"}, True),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "custom", "name": "sql"}, {"type": "web_search"}],
            },
            {"sql"},
            False,
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "namespace", "name": "files"}]},
            {"files.read"},
            True,
        ),
    ],
)
def test_the_choice_of_tools_is_enforced(
    world: ResponsesWorld, choice: Any, allowed: set[str], required: bool
) -> None:
    """Whoever the model would like to call."""
    world.engine.pieces = ("x",)
    response = world.post(tools=[WEATHER, SQL, MCP], tool_choice=choice)
    assert response.status_code == 200
    assert response.json()["tool_choice"] == choice
    grammar = str(world.engine.structured.grammar)
    assert {name for name in ("weather", "sql", "files.read") if f'{name}\\\\\\"' in grammar} == allowed
    assert ("TEXT" in grammar) is not required


def test_mistral_s_word_for_required_is_understood(world: ResponsesWorld) -> None:
    """The response has OpenAI's."""
    world.engine.pieces = ("x",)
    response = world.post(tools=[WEATHER], tool_choice="any")
    assert (response.status_code, response.json()["tool_choice"]) == (200, "required")


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "function", "name": "no spaces"}], "tools[0].name"),
        ([WEATHER, WEATHER], "tools[1].name"),
        ([{"type": "function", "name": "f", "parameters": {"type": "array"}}], "tools[0].parameters"),
        ([{"type": "custom"}], "tools[0].name"),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}], "tools[0].tools[0].name"),
        ([{"name": "f"}], "tools[0].type"),
    ],
)
def test_a_tool_that_cannot_be_used_is_refused_by_name(world: ResponsesWorld, tools: Any, param: str) -> None:
    """With its place."""
    response = world.post(tools=tools)
    assert (response.status_code, error(response)["param"]) == (400, param)
