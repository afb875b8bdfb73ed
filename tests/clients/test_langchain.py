"""LangChain through each protocol that it speaks."""

from __future__ import annotations

import pytest

from tests.support.clients import ClientProgram, StartProgram, used_tokens

PROTOCOLS = ["openai", "responses", "ollama", "anthropic"]
WHO = "Who are you?"
LIGHT = "turn on the kitchen light"
SET_LIGHT = ["set_light", {"room": "kitchen", "on": True}]


@pytest.fixture(scope="module")
def langchain(program: StartProgram) -> ClientProgram:
    return program("langchain_chat")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_a_stream_says_what_invoke_says(langchain: ClientProgram, protocol: str, way: str) -> None:
    pieces = langchain.call(way, protocol, WHO)
    assert len(pieces) > 5
    assert "".join(pieces) == langchain.call("invoke", protocol, WHO)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_usage_is_known(langchain: ClientProgram, protocol: str, daemon_url: str) -> None:
    assert langchain.call("usage", protocol, WHO) == used_tokens(daemon_url, WHO)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bound_tool_is_called_and_its_result_answered(langchain: ClientProgram, protocol: str) -> None:
    found = langchain.call("call", protocol, LIGHT)
    assert found["calls"] == [SET_LIGHT]
    assert "kitchen" in found["answer"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_chunks_of_a_call_add_up(langchain: ClientProgram, protocol: str) -> None:
    assert langchain.call("streamed_call", protocol, LIGHT) == [SET_LIGHT]


@pytest.mark.parametrize(
    ("protocol", "method"),
    [
        (protocol, method)
        for protocol in PROTOCOLS
        for method in ("json_schema", "function_calling")
        if (protocol, method) != ("ollama", "function_calling")  # Ollama's API cannot demand a call
    ],
)
def test_structured_output_is_an_object_of_the_class(
    langchain: ClientProgram, protocol: str, method: str
) -> None:
    assert langchain.call("structured", protocol, method, "a light")["kind"] == "light"


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_documents_are_embedded(langchain: ClientProgram, protocol: str) -> None:
    assert langchain.call("embeddings", protocol) == [256, 256]
