"""The clients with a model that writes nonsense: nothing depends on what the bundled one has learnt.

EDGEINFER_TEST_MODEL names another model's file for these tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.clients import ClientProgram, client_program, client_python
from tests.support.daemon import edgeinfer
from tests.support.gguf import write_tiny
from tests.support.server import eventually

APIS = ("openai", "responses", "anthropic", "ollama")
STRUCTURED = (
    "openai_tool",
    "openai_json",
    "responses_tool",
    "responses_json",
    "anthropic_tool",
    "ollama_json",
    "instructor_json",
    "pydantic_ai_json",
    "langchain_json",
    "litellm_tool",
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("daemon")
    model = os.environ.get("EDGEINFER_TEST_MODEL")
    if model is None:
        model = str(folder / "tiny.gguf")
        write_tiny(Path(model), ctx=1024)
    with edgeinfer(folder, "--model", model, "--port", "0") as process:
        yield process.url()


@pytest.fixture(scope="module")
def clients(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientProgram]:
    with client_program(client_python(), "any_model", url, tmp_path_factory.mktemp("clients")) as program:
        yield program


@pytest.mark.parametrize("api", APIS)
def test_a_stream_says_what_the_whole_answer_says(clients: ClientProgram, api: str) -> None:
    whole, streamed = clients.call(f"{api}_texts")
    assert whole == streamed
    assert whole


@pytest.mark.parametrize("way", STRUCTURED)
def test_what_is_enforced_holds(clients: ClientProgram, way: str) -> None:
    found = clients.call(way)
    assert list(found) == ["on"]
    assert isinstance(found["on"], bool)


def test_an_error_is_the_client_s_own(clients: ClientProgram) -> None:
    assert clients.call("openai_error") == [400, "context_length_exceeded"]


def test_a_client_that_leaves_ends_its_answer(clients: ClientProgram, url: str) -> None:
    assert clients.call("openai_disconnect") == 1
    assert eventually(lambda: httpx.get(f"{url}/status").json()["stats"]["running"] == 0)
