"""The worker dies under requests of all kinds, and their clients get what they would have got."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.support.daemon import Process, edgeinfer
from tests.support.server import eventually

MODEL = ("--model", "fake:5", "--ctx", "1024", "--parallel", "4", "--port", "0")
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "tags"],
    "properties": {
        "name": {"type": "string", "minLength": 10, "maxLength": 12},
        "tags": {"type": "array", "minItems": 3, "maxItems": 3, "items": {"enum": ["red", "green", "blue"]}},
    },
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"type": "function", "function": {"name": "paint", "parameters": SCHEMA}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("/v1/completions", {"prompt": "Once", "max_tokens": 40, "ignore_eos": True}),
    "several": ("/v1/completions", {"prompt": ["Once", "Then"], "n": 2, "max_tokens": 20, "stop": ["qq"]}),
    "logprobs": (
        "/v1/completions",
        {"prompt": "Once", "max_tokens": 30, "logprobs": 2, "ignore_eos": True, "stop": ["abcd"]},
    ),
    "chat": ("/v1/chat/completions", {**CHAT, "max_tokens": 40, "ignore_eos": True}),
    "a schema": (
        "/v1/chat/completions",
        {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    ),
    "a tool": ("/v1/chat/completions", {**CHAT, "tools": [TOOL], "tool_choice": "required"}),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with edgeinfer(tmp_path_factory.mktemp("daemon"), *MODEL) as process:
        process.url()
        yield process


def told(event: dict[str, Any]) -> list[dict[str, Any]]:
    """What an event says of each choice."""
    return event["choices"] if "choices" in event else [{"error": event["error"]}]


def kill(url: str) -> None:
    os.kill(httpx.get(f"{url}/status").json()["worker_pid"], signal.SIGKILL)


def stream(url: str, path: str, body: dict[str, Any], kill_after: int | None) -> tuple[list[Any], Any]:
    """Every choice of every event with what is random left out, and the usage."""
    found: list[Any] = []
    usage = None
    asked = {**body, "seed": 5, "stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", url + path, json=asked, timeout=120) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            found += told(event)
            usage = event.get("usage") or usage
            if kill_after is not None and len(found) >= kill_after:
                kill(url)
                kill_after = None
    assert kill_after is None
    return found, usage


def restarts(url: str) -> int:
    found: int = httpx.get(f"{url}/status").json()["restarts"]
    return found


def restarted(url: str, times: int) -> bool:
    return restarts(url) == times


def whole(choices: list[Any]) -> dict[int, dict[str, Any]]:
    """Of each choice its text, its calls, its log-probabilities and its end."""
    answers: dict[int, dict[str, Any]] = {}
    for choice in choices:
        answer = answers.setdefault(choice["index"], {"text": "", "calls": "", "logprobs": [], "end": None})
        delta = choice.get("delta", {})
        answer["text"] += choice.get("text") or delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            answer["calls"] += call["function"].get("name", "") + call["function"].get("arguments", "")
        answer["logprobs"] += ((choice.get("logprobs") or {}).get("tokens")) or []
        answer["end"] = choice.get("finish_reason") or answer["end"]
    return answers


@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=pytest.mark.slow if name == "a tool" else ()) for name in CASES],
)
def test_a_stream_goes_on_as_it_would_have(daemon: Process, case: str) -> None:
    """Killed near its beginning, and in its middle; usage counts everything once."""
    path, body = CASES[case]
    url = daemon.url()
    undisturbed, usage = stream(url, path, body, None)
    expected = whole(undisturbed)
    assert all(answer["end"] for answer in expected.values())
    for after in (2, len(undisturbed) // 2):
        before = restarts(url)
        found, counted = stream(url, path, body, after)
        assert expected == whole(found)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert usage[name] == counted[name]
        assert eventually(partial(restarted, url, before + 1), 30)


def test_a_whole_answer_is_whole(daemon: Process) -> None:
    """Where nothing is streamed there is nothing to see at all."""
    url = daemon.url()
    body = {"prompt": "Once", "seed": 5, "max_tokens": 60, "ignore_eos": True}
    expected = httpx.post(f"{url}/v1/completions", json=body, timeout=120).json()

    def kill_it() -> None:
        assert eventually(lambda: httpx.get(f"{url}/status").json()["stats"]["running"], 30)
        kill(url)

    killer = threading.Thread(target=kill_it)
    killer.start()
    found = httpx.post(f"{url}/v1/completions", json=body, timeout=120).json()
    killer.join()
    assert expected["choices"] == found["choices"]
    assert expected["usage"]["total_tokens"] == found["usage"]["total_tokens"]
