"""Answers of POST /v1/messages, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import WorkerDied
from tests.support.anthropic import (
    CALL,
    JSON,
    THINKING,
    TIME,
    accumulated,
    answer,
    events,
    post,
    prompt,
    scripted,
)
from tests.support.server import Scripted, Served, eventually, serving

HI = [{"role": "user", "content": "Hi"}]
THOUGHT: JSON = {"thinking": {"type": "enabled", "budget_tokens": 50}}


@pytest.fixture(scope="module")
def llama() -> Iterator[Served]:
    """A real worker, whose model writes at random."""
    client = LlamaClient(LlamaConfig(model="fake", name="fake", ctx=512, parallel=4))
    with serving(client) as served:
        yield served


def both(engine: Scripted, **fields: Any) -> JSON:
    """The answer, whole and as a stream, which say the same."""
    with serving(engine) as served:
        whole = answer(post(served, **fields))
        streamed = accumulated(events(post(served, stream=True, **fields)))
    for message in (whole, streamed):
        assert message.pop("id").startswith("msg_")
        for block in message["content"]:
            assert block.pop("id", "call_").startswith("call_")
    assert whole == streamed
    return whole


def test_a_text_is_one_block() -> None:
    assert both(scripted("Hel", "lo")) == {
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "cache_read_input_tokens": 1,
            "cache_creation_input_tokens": 0,
            "output_tokens": 2,
            "service_tier": "standard",
        },
    }


def test_thoughts_a_text_and_calls_are_blocks_in_this_order() -> None:
    engine = scripted("I ", "see</think>\n\nLet ", "me look. ", *CALL, "\n", *CALL, template=THINKING)
    message = both(engine, tools=[TIME], **THOUGHT)
    call = {"type": "tool_use", "name": "get_time", "input": {"zone": "UTC"}}
    assert message["content"] == [
        {"type": "thinking", "thinking": "I see", "signature": "edgeinfer"},
        {"type": "text", "text": "Let me look."},
        call,
        call,
    ]
    assert message["stop_reason"] == "tool_use"


def test_a_call_without_arguments_has_an_empty_input() -> None:
    tool = {"name": "ping", "input_schema": {"type": "object"}}
    call = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'
    assert both(scripted(call), tools=[tool])["content"] == [
        {"type": "tool_use", "name": "ping", "input": {}}
    ]


def test_an_empty_answer_has_no_blocks() -> None:
    assert both(scripted(""))["content"] == []


def test_thoughts_that_are_not_to_be_shown_come_back_in_the_signature() -> None:
    """A client that does not show them sends them back all the same, and the model sees them again."""
    engine = scripted("Secret", "s</think>\n\nHi", template=THINKING)
    shown: JSON = {"thinking": {**THOUGHT["thinking"], "display": "omitted"}}
    with serving(engine) as served:
        content = answer(post(served, **shown))["content"]
        assert content == accumulated(events(post(served, stream=True, **shown)))["content"]
        turns = [*HI, {"role": "assistant", "content": content}, *HI]
        answer(post(served, messages=turns))
    assert [block.get("thinking") for block in content] == ["", None]
    assert "[assistant]SecretsHi" in prompt(engine)


def test_the_model_thinks_only_when_it_is_told_to() -> None:
    """As in Anthropic's API: applications take the first block for the answer."""
    engine = scripted("Hi", template=THINKING)
    adaptive: JSON = {"thinking": {"type": "adaptive"}}
    with serving(engine) as served:
        for fields in ({}, {"thinking": {"type": "disabled"}}, THOUGHT, adaptive):
            answer(post(served, **fields))
        answer(post(served, output_config={"effort": "low"}, **adaptive))
        budget = engine.structured.thinking
    thinks = [prompt(engine, n).endswith("<think>\n") for n in range(5)]
    assert thinks == [False, False, True, True, True]
    assert budget
    assert budget.tokens == 4096 // 8


def test_the_end_of_a_stream_says_what_the_whole_answer_cost(llama: Served) -> None:
    """Its beginning has the exact length of the prompt already."""
    stream = events(post(llama, stream=True, max_tokens=7, temperature=0))
    assert [event["type"] for event in stream[:2]] == ["message_start", "content_block_start"]
    assert [event["type"] for event in stream[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    first, last = stream[0]["message"]["usage"], stream[-2]["usage"]
    counted = post(llama, path="/v1/messages/count_tokens").json()
    assert last["output_tokens"] == 7
    for usage in (first, last):
        total = (
            usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
        )
        assert {"input_tokens": total} == counted


def test_what_is_in_the_cache_is_counted_apart(llama: Served) -> None:
    long = "A text that nobody has sent before, and that is long enough to tell. " * 3
    first, second = (answer(post(llama, long, max_tokens=1))["usage"] for _ in range(2))
    assert first["cache_read_input_tokens"] < 30
    assert second["cache_read_input_tokens"] > 150
    total = first["input_tokens"] + first["cache_read_input_tokens"]
    assert second["input_tokens"] + second["cache_read_input_tokens"] == total


def test_a_session_stays_in_the_cache_beside_other_requests() -> None:
    """Anthropic's field for the user names it."""
    client = LlamaClient(LlamaConfig(model="fake", name="fake", ctx=512, parallel=2))
    mine: JSON = {"metadata": {"user_id": "session-1"}, "max_tokens": 1}
    with serving(client) as llama:
        answer(post(llama, "A long conversation about the sea. " * 3, **mine))
        for n in range(8):
            answer(post(llama, f"{n} is a number, and this is something else.", max_tokens=1))
        usage = answer(post(llama, "A long conversation about the sea. " * 3 + "And?", **mine))["usage"]
    assert usage["cache_read_input_tokens"] > 100


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_for_no_tokens_warms_the_cache(llama: Served, stream: bool) -> None:
    text = f"A text that is read before anybody asks, {'in a stream' if stream else 'whole'}. " * 4
    response = post(llama, text, max_tokens=0, stream=stream)
    warmed = accumulated(events(response)) if stream else answer(response)
    assert (warmed["content"], warmed["stop_reason"]) == ([], "max_tokens")
    assert warmed["usage"]["output_tokens"] == 0
    assert answer(post(llama, text, max_tokens=1))["usage"]["cache_read_input_tokens"] > 200


def test_an_answer_says_why_it_ended(llama: Served) -> None:
    """At the limit of the request, at that of the context, or at a text, which it names."""
    greedy: JSON = {"temperature": 0}
    cut = answer(post(llama, max_tokens=7, **greedy))
    assert (cut["stop_reason"], cut["usage"]["output_tokens"]) == ("max_tokens", 7)
    full = answer(post(llama, "x" * 400, max_tokens=500, **greedy))
    assert full["stop_reason"] == "model_context_window_exceeded"
    said, letter = cut["content"][0]["text"][:2], cut["content"][0]["text"][2]
    stopped = answer(post(llama, stop_sequences=["!!", letter], **greedy))
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", letter)
    assert stopped["content"] == [{"type": "text", "text": said}]


def test_a_call_that_is_cut_has_what_there_is_of_its_input() -> None:
    written = {
        '{"zone": "Europe/Ber': {"zone": "Europe/Ber"},
        '{"zone": "a\\u00': {"zone": "a"},
        '{"zone": "a", "n": tr': {"zone": "a"},
        '{"zone": ' + '{"a": ' * 500: {},
        "": {},
    }
    engine = scripted()
    with serving(engine) as served:
        for text, expected in written.items():
            engine.pieces = (f'<tool_call>\n{{"name": "get_time", "arguments": {text}',)
            assert answer(post(served, tools=[TIME]))["content"][0]["input"] == expected


def test_a_schema_for_the_answer_is_enforced() -> None:
    """In the field of today's clients, and in that of older ones."""
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"age": {"type": "integer"}}}}
    engine = scripted('{"age": 3}')
    with serving(engine) as served:
        for fields in ({"output_config": {"format": form}}, {"output_format": form}):
            assert answer(post(served, **fields))["content"][0]["text"] == '{"age": 3}'
            assert "age" in (engine.structured.grammar or "")


def test_a_stream_that_is_silent_sends_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events by name, since clients read nothing else; the first may come before the message."""
    monkeypatch.setattr("edgeinfer.server.http.sse.EventStream.__init__.__defaults__", (0.02,))
    engine = scripted("Hello")
    engine.hold_first = 0.2
    with serving(engine) as served:
        stream = events(post(served, stream=True))
    assert stream[0] == {"type": "ping"}
    assert accumulated([event for event in stream if event["type"] != "ping"])


def test_an_error_within_a_stream_is_an_event_by_that_name() -> None:
    engine = scripted("Hel", "lo")

    def fail() -> None:
        raise WorkerDied("the worker died", hint="try again")

    engine.before_last = fail
    with serving(engine) as served:
        response = post(served, stream=True)
    error = events(response)[-1]
    assert error == {
        "type": "error",
        "error": {"type": "api_error", "message": "the worker died (hint: try again)"},
        "request_id": response.headers["request-id"],
    }


def test_an_error_before_the_first_event_has_its_own_status(llama: Served) -> None:
    """Claude Code shortens the conversation when it reads this one."""
    response = post(llama, "x" * 600, stream=True)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("prompt is too long: ")


def test_a_client_that_leaves_in_the_middle_ends_its_answer(llama: Served) -> None:
    body = {"max_tokens": 500, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.stream("POST", f"{llama.url}/v1/messages", json=body, timeout=30) as response:
        next(response.iter_bytes())
    assert eventually(lambda: llama.client.get("/status").json()["stats"]["running"] == 0)
