"""The anthropic client, unchanged: its accumulators, helpers and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.errors import WorkerDied
from tests.support.anthropic import CALL, THINKING, TIME, scripted
from tests.support.clients import ClientProgram, StartProgram, client_program, client_python
from tests.support.server import eventually, serving

LIGHT = "turn on the kitchen light"


@pytest.fixture(scope="module")
def sdk(program: StartProgram) -> ClientProgram:
    return program("anthropic_sdk")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Any]:
    """The same program, at a daemon of the test."""
    with client_program(client_python(), "anthropic_sdk", "", tmp_path) as program:

        def move(url: str) -> ClientProgram:
            program.url = url
            return program

        yield move


def test_an_answer_is_a_message(sdk: ClientProgram) -> None:
    message = sdk.call("create", "Who are you?")
    (block,) = message["content"]
    assert (block["type"], message["stop_reason"], message["role"]) == ("text", "end_turn", "assistant")
    assert block["text"]
    assert message["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_a_stream_adds_up_to_the_whole_answer(sdk: ClientProgram, way: str) -> None:
    whole = sdk.call("create", "Who are you?")
    texts, message = sdk.call(way, "Who are you?")
    assert "".join(texts) == whole["content"][0]["text"] == message["content"][0]["text"]
    assert message["stop_reason"] == whole["stop_reason"]
    assert message["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_events_come_in_their_order(sdk: ClientProgram) -> None:
    kinds = sdk.call("raw_stream", "Who are you?")
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_the_beta_client_gets_the_same(sdk: ClientProgram) -> None:
    kinds, message = sdk.call("beta_stream", "Who are you?")
    assert {"text", "content_block_stop", "message_stop"} <= set(kinds)
    assert message["content"][0]["text"] == sdk.call("create", "Who are you?")["content"][0]["text"]


def test_a_tool_is_called_and_its_result_answered(sdk: ClientProgram) -> None:
    called = sdk.call("tool_round", LIGHT)
    assert (called["stop_reason"], called["input"]) == ("tool_use", {"room": "kitchen", "on": True})
    assert called["answer"][0]["type"] == "text"


def test_the_tool_runner_calls_the_function(sdk: ClientProgram) -> None:
    ran = sdk.call("run_tools", LIGHT)
    assert ran["called"][0] == {"room": "kitchen", "on": True}
    assert ran["turns"][0] == "tool_use"
    assert len(ran["turns"]) > 1


def test_a_parsed_answer_is_an_object_of_the_class(sdk: ClientProgram) -> None:
    """Whole, with the beta client, and at the end of a stream."""
    parsed = sdk.call("parse", "Describe a device")
    assert len(parsed) == 3
    assert all(device.keys() == {"room", "level"} for device in parsed)


def test_thoughts_a_text_and_calls_are_blocks(at: Any) -> None:
    engine = scripted("Let me ", "see</think>\n\n", "Hi. ", *CALL, template=THINKING)
    with serving(engine) as served:
        whole, streamed, kinds = at(served.url).call("think", "Hi", TIME)
    for message in (whole, streamed):
        thinking, text, call = message
        assert (thinking["thinking"], thinking["signature"]) == ("Let me see", "edgeinfer")
        assert (text["text"], call["name"], call["input"]) == ("Hi.", "get_time", {"zone": "UTC"})
    assert {"thinking", "signature", "text", "input_json"} <= set(kinds)


def test_counted_tokens_are_those_that_are_used(sdk: ClientProgram) -> None:
    counted, used = sdk.call("count", LIGHT)
    assert counted == used > 50


def test_models_are_listed_page_by_page(sdk: ClientProgram, at: Any) -> None:
    assert sdk.call("models") == [["edgeinfer-nano"], "edgeinfer-nano"]
    tables = {"scripted": {"aliases": ["claude-a", "claude-b"]}}
    with serving(scripted("Hi"), models=tables) as served:
        assert at(served.url).call("models") == [["scripted", "claude-a", "claude-b"], "scripted"]


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_client_s_own_classes(sdk: ClientProgram, stream: bool) -> None:
    missing = sdk.call("failure", {"model": "claude-opus-4-1"}, stream)
    assert missing[:4] == ["NotFoundError", 404, "not_found_error", True]
    assert "aliases" in missing[4]
    wrong = sdk.call("failure", {"extra_body": {"top_p": 3}}, stream)
    assert wrong[:4] == ["BadRequestError", 400, "invalid_request_error", True]
    assert "top_p" in wrong[4]
    long = sdk.call("failure", {"system": "word " * 20_000}, stream)
    assert long[:3] == ["BadRequestError", 400, "invalid_request_error"]
    assert "prompt is too long" in long[4]


def test_an_error_in_a_stream_is_raised(at: Any) -> None:
    engine = scripted("Hel", "lo")

    def fail() -> None:
        raise WorkerDied("the worker died")

    engine.before_last = fail
    with serving(engine) as served:
        raised = at(served.url).call("failure_in_stream")
    assert raised
    assert "the worker died" in raised[1]


def test_leaving_a_stream_ends_the_answer(sdk: ClientProgram, daemon_url: str) -> None:
    sdk.call("leave_stream")
    assert eventually(lambda: httpx.get(f"{daemon_url}/status").json()["stats"]["running"] == 0)
