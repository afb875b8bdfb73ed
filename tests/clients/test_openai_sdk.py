"""The openai client in its newest version; tests/server/test_openai_client.py goes into detail."""

from __future__ import annotations

import httpx
import pytest

from tests.support.clients import ClientProgram, StartProgram
from tests.support.server import eventually


@pytest.fixture(scope="module")
def sdk(program: StartProgram) -> ClientProgram:
    return program("openai_sdk")


def test_the_bundled_model_is_listed(sdk: ClientProgram) -> None:
    assert sdk.call("models") == ["edgeinfer-nano"]


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_a_stream_says_what_the_whole_answer_says(sdk: ClientProgram, way: str) -> None:
    assert "".join(sdk.call(way, "Who are you?")) == sdk.call("chat", "Who are you?") != ""


def test_a_tool_is_called_and_its_result_answered(sdk: ClientProgram) -> None:
    called = sdk.call("tool_round", "turn on the kitchen light")
    assert called["arguments"] == {"room": "kitchen", "on": True}
    assert called["answer"]


def test_an_unknown_model_is_the_clients_own_error(sdk: ClientProgram) -> None:
    status, code, text = sdk.call("unknown_model")
    assert (status, code) == (404, "model_not_found")
    assert "gpt-4o" in text


def test_leaving_a_stream_ends_the_answer(sdk: ClientProgram, daemon_url: str) -> None:
    sdk.call("leave_stream")
    assert eventually(lambda: httpx.get(f"{daemon_url}/status").json()["stats"]["running"] == 0)
