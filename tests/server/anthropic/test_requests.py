"""What the model is told of a request's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.anthropic import JSON, TIME, answer, post, prompt, scripted
from tests.support.server import Scripted, Served, serving

USE: JSON = {"type": "tool_use", "id": "toolu_1", "name": "get_time", "input": {"zone": "UTC"}}


@pytest.fixture(scope="module")
def engine() -> Scripted:
    return scripted("Hi")


@pytest.fixture(scope="module")
def served(engine: Scripted) -> Iterator[Served]:
    with serving(engine) as served:
        yield served


def text(text: str, **more: Any) -> JSON:
    return {"type": "text", "text": text, **more}


def document(source: JSON, **more: Any) -> JSON:
    return {"type": "document", "source": source, **more}


def turns(*contents: Any) -> list[JSON]:
    """Turns of the user and the assistant by turns."""
    return [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(contents)]


def result(content: Any = "noon", **more: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **more}


def told(served: Served, engine: Scripted, content: Any = "Hi", **fields: Any) -> str:
    answer(post(served, content, **fields))
    return prompt(engine)


@pytest.mark.parametrize("system", ["Be brief.", [text("Be"), text("brief.")]])
def test_a_system_text_comes_first(served: Served, engine: Scripted, system: Any) -> None:
    said = "Be brief." if isinstance(system, str) else "Be\n\nbrief."
    assert told(served, engine, system=system) == f"[system]{said}\n[user]Hi\n[assistant]"


def test_turns_of_one_role_in_a_row_are_one(served: Served, engine: Scripted) -> None:
    messages = [*turns("a"), *turns([text("b"), text("c")], [text("d")]), *turns("e")]
    assert told(served, engine, messages=messages) == "[user]a\nb\nc\n[assistant]d\n[user]e\n[assistant]"


def test_a_system_text_may_stand_anywhere(served: Served, engine: Scripted) -> None:
    messages = [*turns("one", "two"), {"role": "system", "content": [text("three")]}, *turns("four")]
    said = told(served, engine, messages=messages)
    places = [said.index(part) for part in ("one", "two", "three", "four")]
    assert places == sorted(places)


def test_the_answer_continues_what_the_assistant_has_begun(served: Served, engine: Scripted) -> None:
    assert told(served, engine, messages=turns("Sun in Greek?", "It is (")).endswith("[assistant]It is (")


def test_documents_and_search_results_are_read_as_text(served: Served, engine: Scripted) -> None:
    plain = document({"type": "text", "media_type": "text/plain", "data": "Data"}, title="T", context="C")
    parts = document({"type": "content", "content": [text("one"), text("two")]})
    found = {"type": "search_result", "source": "site", "title": "Found", "content": [text("it")]}
    blocks = [plain, parts, found, text("Why?")]
    assert "[user]T\nC\nData\none\ntwo\nFound\nsite\nit\nWhy?" in told(served, engine, blocks)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("noon", "noon"),
        ([text("no"), text("on")], "no\non"),
        (None, ""),
        (
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}],
            "[An image",
        ),
        ([document({"type": "base64", "media_type": "application/pdf", "data": "AA=="})], "[A file"),
        ([{"type": "tool_reference", "tool_name": "get_time"}], "get_time"),
    ],
)
def test_a_call_and_its_result_are_turns(
    served: Served, engine: Scripted, content: Any, expected: str
) -> None:
    """The text after a result is the user's. A picture in it is named: the client cannot take it back."""
    messages = turns("Hi", [text("Wait."), USE], [result(content), text("So?")])
    said = told(served, engine, messages=messages, tools=[TIME])
    call, _, rest = said.partition("[assistant]Wait.")[2].partition("[user]")
    assert '"zone": "UTC"' in call
    assert expected in rest
    assert rest.index(expected) <= rest.index("So?")


def test_the_model_learns_that_a_tool_failed(served: Served, engine: Scripted) -> None:
    messages = turns("Hi", [USE], [result("no clock", is_error=True)])
    assert "Error: no clock" in told(served, engine, messages=messages, tools=[TIME])


def test_thoughts_are_sent_back_and_those_that_cannot_be_read_are_passed_over(
    served: Served, engine: Scripted
) -> None:
    thoughts = {"type": "thinking", "thinking": "Hm", "signature": "any"}
    redacted = {"type": "redacted_thinking", "data": "abc"}
    messages = turns("Hi", [thoughts, redacted, text("Yes.")], "So?")
    assert "[assistant]HmYes." in told(served, engine, messages=messages)


def test_a_summary_of_what_was_said_is_read(served: Served, engine: Scripted) -> None:
    """Where the client has let a server shorten the conversation."""
    summary = {"type": "compaction", "content": "They greeted.", "encrypted_content": "abc"}
    assert "[assistant]They greeted." in told(served, engine, messages=turns("Hi", [summary], "So?"))


def test_fields_that_have_no_effect_here_are_taken(served: Served, engine: Scripted) -> None:
    """At every level: clients send new ones before anybody has read of them."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}, "citations": None, "brand_new": 1}
    tool = {**TIME, **mark, "type": "custom", "eager_input_streaming": True, "defer_loading": True}
    fields: JSON = {
        "metadata": {"user_id": "u"},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "service_tier": "auto",
        "container": {"id": "c"},
        "mcp_servers": [],
        "speed": "fast",
        "brand_new": {"a": 1},
        "output_config": {"effort": "max", "task_budget": {"type": "tokens"}},
    }
    messages = turns([text("Hi", **mark)], [{**USE, **mark, "caller": None}], [result(**mark)])
    expected = told(served, engine, messages=turns([text("Hi")], [USE], [result()]), tools=[TIME], system="s")
    system = [text("s", **mark)]
    response = post(served, messages=messages, tools=[tool], system=system, **fields)
    assert answer(response)
    assert prompt(engine) == expected
    ignored = response.headers["x-edgeinfer-ignored"]
    assert all(name in ignored for name in ("brand_new", "mcp_servers", "container", "tools[0].brand_new"))
    assert not any(name in ignored for name in ("metadata", "cache_control", "context_management"))


@pytest.mark.parametrize(
    ("content", "field", "words"),
    [
        ([{"type": "image", "source": {"type": "url", "url": "x"}}], "messages[0].content[0]", "text only"),
        (
            [document({"type": "base64", "data": "AA=="})],
            "messages[0].content[0].source.type",
            "send its text",
        ),
        ([document({"type": "url", "url": "x"})], "messages[0].content[0].source.type", "'url'"),
        ([text("a"), {"type": "video"}], "messages[0].content[1]", "'search_result'"),
        ([{"type": "server_tool_use", "id": "a"}], "messages[0].content[0].type", "Anthropic's servers"),
        ([USE], "messages[0].content[0].type", "of the user"),
        ([{"type": "text"}], "messages[0].content[0].text", "missing"),
        (3, "messages[0].content", "a string or a list"),
        ([], "messages[0].content", "has no blocks"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    served: Served, content: Any, field: str, words: str
) -> None:
    response = post(served, content)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert field in error["message"]
    assert words in error["message"]


def test_a_result_in_the_assistant_s_turn_is_refused(served: Served) -> None:
    error = post(served, messages=turns("Hi", [result()])).json()["error"]
    assert "messages[1].content[0].type" in error["message"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"temperature": 9}, "temperature"),
        ({"stop_sequences": ["a"] * 99}, "stop_sequences"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "max_tokens"),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"thinking": {"type": "maybe"}}, "thinking.type"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [TIME, TIME]}, "tools[1].name"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [TIME], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice.name"),
        ({"tools": [TIME], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ],
)
def test_a_wrong_field_is_named(served: Served, fields: JSON, field: str) -> None:
    error = post(served, **fields).json()["error"]
    assert error["type"] == "invalid_request_error"
    assert field in error["message"]
