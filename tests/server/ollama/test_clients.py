"""Requests as clients of Ollama send them, and what each looks for in the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from edgeinfer.inference.types import FimTokens
from tests.support.ollama import CALL, scripted
from tests.support.server import Scripted, Served, parse, serving

HASS_TOOL = {
    "type": "function",
    "function": {
        "name": "HassTurnOn",
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "domain": {"type": "array", "items": {"type": "string"}},
            },
            "required": [],
        },
        "description": "Turns on a device",
    },
}
HASS_CALL = '<tool_call>\n{"name": "HassTurnOn", "arguments": {"name": "lamp"}}\n</tool_call>'


@pytest.fixture
def model() -> Scripted:
    return scripted("Hel", "lo", fim=FimTokens(1, 2, 3))


@pytest.fixture
def served(model: Scripted) -> Iterator[Served]:
    with serving(model) as daemon:
        yield daemon


def stream(client: httpx.Client, path: str, body: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    response = client.post(path, json=body, headers=headers)
    assert (200, "application/x-ndjson") == (response.status_code, response.headers["content-type"])
    return [json.loads(line) for line in response.iter_lines()]


def test_home_assistant_lists_models_and_talks_with_tools(model: Scripted, served: Served) -> None:
    """Its options, a context larger than ours, thoughts switched off, and results with neither name nor id."""
    model.pieces = (HASS_CALL,)
    names = [entry["model"] for entry in served.client.get("/api/tags").json()["models"]]
    assert ["scripted:latest"] == names
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a voice assistant."},
        {"role": "user", "content": "Turn on the lamp"},
    ]
    body = {
        "model": names[0],
        "messages": messages,
        "tools": [HASS_TOOL],
        "stream": True,
        "options": {"num_ctx": 8192},
        "keep_alive": "-1s",
        "think": False,
    }
    *_, call, last = stream(served.client, "/api/chat", body)
    (made,) = call["message"]["tool_calls"]
    assert ("HassTurnOn", {"name": "lamp"}) == (made["function"]["name"], made["function"]["arguments"])
    assert last["done"]
    result = json.dumps({"speech": {}, "response_type": "action_done"})
    messages += [
        {"role": "assistant", "content": "", "tool_calls": [{"function": made["function"]}]},
        {"role": "tool", "content": result},
    ]
    model.pieces = ("Done.",)
    said = stream(served.client, "/api/chat", {**body, "messages": messages})
    assert "Done." == "".join(chunk["message"]["content"] for chunk in said)
    prompt = "".join(span.text for span in model.requests[-1][0])  # type: ignore[union-attr]
    assert "action_done" in prompt


def test_open_webui_looks_around_chats_and_unloads(served: Served) -> None:
    """It compares versions as numbers, reads a time as Python 3.10 does, and shows the figures of the last line."""
    version = served.client.get("/api/version").json()["version"]
    assert tuple(int(part) for part in re.sub(r"^v|-.*", "", version).split("."))
    (entry,) = served.client.get("/api/tags").json()["models"]
    shown = served.client.post("/api/show", json={"name": entry["model"]}).json()
    assert shown["details"]["family"] == entry["details"]["family"]
    messages = [{"role": "user", "content": "Hi"}]
    *_, last = stream(
        served.client,
        "/api/chat",
        {"model": entry["model"], "messages": messages, "options": {}, "stream": True},
    )
    assert {"total_duration", "load_duration", "prompt_eval_count", "eval_count", "eval_duration"} <= set(
        last
    )
    (running,) = served.client.get("/api/ps").json()["models"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", running["expires_at"])
    assert datetime.fromisoformat(running["expires_at"]).tzinfo
    body = {"model": entry["model"], "keep_alive": 0, "prompt": ""}
    assert "unload" == served.client.post("/api/generate", json=body).json()["done_reason"]
    assert [] == served.client.get("/api/ps").json()["models"]


def test_continue_reads_the_parameters_and_fills_gaps(served: Served) -> None:
    """It asks by `name`, looks for `.Suffix`, and keeps the model for half an hour."""
    shown = served.client.post("/api/show", json={"name": "scripted"}).json()
    assert ".Suffix" in shown["template"]
    parameters = dict(re.split(r"\s+", line, maxsplit=1) for line in shown["parameters"].split("\n"))
    assert 4096 == int(parameters["num_ctx"])
    body = {
        "model": "scripted",
        "prompt": "def add(a, b):\n    return ",
        "suffix": "\n",
        "raw": None,
        "options": {
            "num_predict": 64,
            "stop": ["\n\n"],
            "num_ctx": 4096,
            "mirostat": None,
            "num_thread": None,
        },
        "keep_alive": 1800,
        "stream": True,
    }
    said = stream(served.client, "/api/generate", body)
    assert "Hello" == "".join(chunk["response"] for chunk in said)


def test_copilot_reads_the_capabilities_and_chats_with_openai_s_api(served: Served) -> None:
    """Under the name that the list has, tag and all."""
    version = served.client.get("/api/version").json()["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)
    (entry,) = served.client.get("/api/tags").json()["models"]
    agent = {"user-agent": "GitHubCopilotChat/0.31.0"}
    shown = served.client.post("/api/show", json={"model": entry["model"]}, headers=agent).json()
    assert "tools" in shown["capabilities"]
    info = shown["model_info"]
    assert info[f"{info['general.architecture']}.context_length"] > 0
    assert entry["model"] == info["general.basename"]
    body = {"model": entry["model"], "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    chunks = parse(served.client.post("/v1/chat/completions", json=body).text)
    assert "Hello" == "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_zed_streams_with_tools(model: Scripted, served: Served) -> None:
    """Its assistant messages have calls with ids, and thoughts."""
    model.pieces = CALL
    tool = {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": None,
            "parameters": {"type": "object", "properties": {}},
        },
    }
    body = {
        "model": "scripted:latest",
        "messages": [
            {"role": "user", "content": "What time is it?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "function": {"name": "get_time", "arguments": {}}}],
                "images": None,
                "thinking": None,
            },
            {"role": "tool", "content": "12:00", "tool_name": "get_time"},
            {"role": "user", "content": "And now?"},
        ],
        "stream": True,
        "keep_alive": -1,
        "options": {"num_ctx": 4096, "stop": [], "temperature": 1.0},
        "think": False,
        "tools": [tool],
    }
    calls = [
        c
        for chunk in stream(served.client, "/api/chat", body)
        for c in chunk["message"].get("tool_calls", ())
    ]
    assert ["get_time"] == [call["function"]["name"] for call in calls]
    assert all(call["id"] for call in calls)
