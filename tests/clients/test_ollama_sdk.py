"""The ollama client."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.support.clients import ClientProgram, StartProgram

LIGHT = "turn on the light in the kitchen"


@pytest.fixture(scope="module")
def ollama(program: StartProgram) -> ClientProgram:
    return program("ollama_sdk")


def test_it_lists_models_and_shows_one(ollama: ClientProgram) -> None:
    """By the name in the list."""
    ((name, size, form),) = ollama.call("models")
    assert ("edgeinfer-nano:latest", "gguf") == (name, form)
    assert size > 1_000_000
    shown = ollama.call("show", name)
    assert shown["modelinfo"]["general.architecture"] == shown["details"]["family"]
    assert {"completion", "tools"} <= set(shown["capabilities"])


def test_it_sees_what_is_running_and_keeps_it(ollama: ClientProgram) -> None:
    """With a time that it can read."""
    ((name, context, year),) = ollama.call("running")
    assert "edgeinfer-nano:latest" == name
    assert context > 0
    assert year > 2100
    expires = datetime.fromisoformat(ollama.call("keep"))
    assert timedelta(minutes=29) < expires - datetime.now(timezone.utc) < timedelta(minutes=31)


def test_a_stream_says_what_the_whole_answer_says(ollama: ClientProgram) -> None:
    """The asynchronous client's too."""
    whole = ollama.call("chat", LIGHT)
    assert whole == "".join(ollama.call("stream", LIGHT)) == "".join(ollama.call("stream_async", LIGHT))


def test_it_generates(ollama: ClientProgram) -> None:
    for raw in (False, True):
        response, reason = ollama.call("generate", "Once upon a time", raw)
        assert response
        assert reason in ("stop", "length")


def test_a_python_function_is_a_tool(ollama: ClientProgram) -> None:
    """It is called with an object, and its result goes back by the tool's name."""
    name, arguments, role = ollama.call("tool_round", LIGHT)
    assert ("set_light", "assistant") == (name, role)
    assert {"room", "on"} == set(arguments)


def test_an_answer_has_the_form_of_a_schema(ollama: ClientProgram) -> None:
    assert {"room", "on"} == set(ollama.call("structured", LIGHT))


def test_it_embeds(ollama: ClientProgram) -> None:
    first, second = ollama.call("embed", ["one", "another"])
    assert first == second > 0


@pytest.mark.parametrize(
    ("method", "fields", "status", "said"),
    [
        ("chat", {"model": "no-such-model"}, 404, "no-such-model"),
        ("pull", {"model": "no-such-model-anywhere", "stream": True}, 404, "no-such-model-anywhere"),
        ("copy", {"source": "default", "destination": "mine"}, 501, "does not copy"),
        ("delete", {"model": "default"}, 400, "default model"),
    ],
)
def test_it_tells_errors(
    ollama: ClientProgram, method: str, fields: dict[str, object], status: int, said: str
) -> None:
    """With their status, in streams too."""
    code, text = ollama.call("error_of", method, fields)
    assert (status, True) == (code, said in text)
