"""LiteLLM through each provider whose protocol the daemon speaks."""

from __future__ import annotations

import json

import pytest

from tests.support.clients import ClientProgram, StartProgram, used_tokens

PROVIDERS = ["openai", "ollama_chat", "anthropic"]
WHO = "Who are you?"
LIGHT = "turn on the kitchen light"


@pytest.fixture(scope="module")
def litellm(program: StartProgram) -> ClientProgram:
    return program("litellm_sdk")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_says_what_the_whole_answer_says(litellm: ClientProgram, provider: str) -> None:
    pieces = litellm.call("stream", provider, WHO)
    assert len(pieces) > 5
    assert "".join(pieces) == litellm.call("chat", provider, WHO)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_usage_is_known(litellm: ClientProgram, provider: str, daemon_url: str) -> None:
    assert litellm.call("usage", provider, WHO) == used_tokens(daemon_url, WHO)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("way", ["tool", "streamed_tool"])
def test_a_tool_is_called(litellm: ClientProgram, provider: str, way: str) -> None:
    name, arguments = litellm.call(way, provider, LIGHT)
    assert name == "set_light"
    assert json.loads(arguments) == {"room": "kitchen", "on": True}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_response_format_is_kept(litellm: ClientProgram, provider: str) -> None:
    assert set(litellm.call("structured", provider, "a light")) == {"room", "level"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_unknown_model_is_not_found(litellm: ClientProgram, provider: str) -> None:
    assert litellm.call("unknown_model", provider) == "NotFoundError"


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_texts_are_embedded(litellm: ClientProgram, provider: str) -> None:
    assert litellm.call("embedding", provider) == 2


def test_responses_say_what_chat_completions_say(litellm: ClientProgram) -> None:
    assert litellm.call("responses", WHO) == litellm.call("chat", "openai", WHO)
