"""Requests as Claude Code sends them; written after those of version 2.1.197."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from tests.support.anthropic import JSON, accumulated, answer, events
from tests.support.server import Served, serving

HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "prompt-caching-scope-2026-01-05,effort-2025-11-24",
    "anthropic-dangerous-direct-browser-access": "true",
    "authorization": "Bearer none",
    "user-agent": "claude-cli/2.1.197 (external, cli)",
    "x-app": "cli",
    "x-stainless-lang": "js",
    "x-stainless-timeout": "600",
}
CACHED = {"type": "ephemeral", "ttl": "1h"}
BASH = {
    "name": "Bash",
    "description": "Executes a given bash command. " + "It takes care of quoting. " * 8,
    "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "The command to execute"},
            "timeout": {"type": "number", "description": "Optional timeout in milliseconds (max 600000)"},
            "run_in_background": {"type": "boolean", "default": False},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
}
TODO = {
    "name": "TodoWrite",
    "description": "Use this tool to create and manage a structured task list.",
    "input_schema": {
        "type": "object",
        "properties": {
            "todos": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "content": {"type": "string", "minLength": 1},
                        "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
                        "activeForm": {"type": "string", "minLength": 1},
                    },
                    "required": ["content", "status", "activeForm"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["todos"],
        "additionalProperties": False,
    },
    "cache_control": CACHED,
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    client = LlamaClient(LlamaConfig(model="fake", name="fake", ctx=8192, parallel=2))
    with serving(client) as served:
        yield served


def text(text: str, **more: Any) -> JSON:
    return {"type": "text", "text": text, **more}


def request(*said: JSON, cch: str = "00000", **fields: Any) -> JSON:
    """A turn of a session. What stands in the billing header changes with every request."""
    billing = f"x-anthropic-billing-header: cc_version=2.1.197.{cch[:3]}; cc_entrypoint=cli; cch={cch};"
    reminder = (
        "<system-reminder>\nAs you answer, you can use this context: # currentDate\n</system-reminder>\n"
    )
    return {
        "model": "fake",
        "max_tokens": 12,
        "stream": True,
        "system": [
            text(billing),
            text("You are Claude Code, Anthropic's official CLI for Claude.", cache_control=CACHED),
            text("\nYou are an interactive agent that helps users.\n\n# Tone\n" + "Be concise. " * 20),
        ],
        "messages": [
            {"role": "user", "content": [text(reminder), text("list the files", cache_control=CACHED)]},
            {"role": "system", "content": "Available agent types for the Agent tool:\n- claude: Catch-all"},
            *said,
        ],
        "tools": [BASH, TODO],
        "metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        **fields,
    }


def ask(served: Served, body: JSON, path: str = "/v1/messages") -> httpx.Response:
    return served.client.post(f"{path}?beta=true", json=body, headers=HEADERS)


def test_a_turn_is_streamed(served: Served) -> None:
    response = ask(served, request())
    assert accumulated(events(response))["usage"]["output_tokens"] > 0
    assert "x-edgeinfer-ignored" not in response.headers


def test_its_changing_billing_header_does_not_spoil_the_cache(served: Served) -> None:
    """It stands first, so that one other character in it would mean that nothing is in the cache."""
    accumulated(events(ask(served, request(cch="1a2b3"))))
    more: list[JSON] = [
        {"role": "assistant", "content": [text("I will.")]},
        {"role": "user", "content": "Do."},
    ]
    usage = accumulated(events(ask(served, request(*more, cch="9f8e7"))))["usage"]
    cached, new = usage["cache_read_input_tokens"], usage["input_tokens"]
    assert cached > 10 * new
    counts = [
        ask(served, request(cch=cch), "/v1/messages/count_tokens").json() for cch in ("00000", "fffffffff")
    ]
    assert counts[0] == counts[1]


def test_a_later_text_that_looks_like_the_header_stays(served: Served) -> None:
    lines = [text("Be brief."), text("x-anthropic-billing-header: cch=00000;")]
    texts = [request(system=lines[:n]) for n in (1, 2)]
    few, many = (ask(served, body, "/v1/messages/count_tokens").json()["input_tokens"] for body in texts)
    assert many > few + 30


def test_a_round_with_a_tool_goes_on(served: Served) -> None:
    """With thoughts that the client has not seen, a call, and what it brought; with a changed mode in between."""
    use = {"type": "tool_use", "id": "toolu_01", "name": "Bash", "input": {"command": "ls"}}
    thoughts = {"type": "thinking", "thinking": "", "signature": "edgeinfer:TGV0IG1lIGxvb2s="}
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": "a.txt", "is_error": False}
    said: list[JSON] = [
        {"role": "assistant", "content": [thoughts, text("I look."), use]},
        {
            "role": "user",
            "content": [{**result, "cache_control": CACHED}, text("<system-reminder>x</system-reminder>")],
        },
        {"role": "system", "content": "Plan mode is on."},
    ]
    assert accumulated(events(ask(served, request(*said))))["stop_reason"]


def test_a_call_of_a_chosen_tool_keeps_to_its_schema(served: Served) -> None:
    """Even by a model that writes at random, for as long as it may."""
    choice: JSON = {"tool_choice": {"type": "tool", "name": "TodoWrite"}, "max_tokens": 100}
    message = accumulated_or_cut(events(ask(served, request(**choice, thinking={"type": "disabled"}))))
    assert {block["name"] for block in message["content"] if block["type"] == "tool_use"} == {"TodoWrite"}


def accumulated_or_cut(stream: list[JSON]) -> JSON:
    """The message, without the inputs of calls, which may have been cut."""
    return accumulated(
        [event for event in stream if event.get("delta", {}).get("type") != "input_json_delta"]
    )


def test_its_smaller_requests_are_answered(served: Served) -> None:
    """The check of the quota, the title of a session, and the count of one tool's tokens."""
    quota = {"model": "fake", "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
    assert answer(ask(served, quota))["usage"]["output_tokens"] == 1
    schema: JSON = {
        "type": "object",
        "properties": {"title": {"type": "string", "maxLength": 5}},
        "required": ["title"],
    }
    form: JSON = {
        "output_config": {
            "format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}
        }
    }
    title = answer(
        ask(served, request(**form, tools=[], stream=False, thinking={"type": "disabled"}, max_tokens=200))
    )
    assert re.fullmatch(r'\{\s*"title":.*\}', title["content"][0]["text"], re.DOTALL)
    tool = {"model": "fake", "messages": [{"role": "user", "content": "foo"}], "tools": [BASH]}
    assert ask(served, tool, "/v1/messages/count_tokens").json()["input_tokens"] > 200


def test_a_search_of_the_web_is_refused_instead_of_made_up(served: Served) -> None:
    """Claude Code asks for it in a request of its own, and takes what it gets for what was found."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    response = ask(served, request(tools=[search], tool_choice={"type": "tool", "name": "web_search"}))
    assert response.status_code == 400
    assert "web_search_20250305" in response.json()["error"]["message"]


def test_it_finds_that_somebody_is_there(served: Served) -> None:
    assert served.client.head("/", headers=HEADERS).status_code == 200
    page = served.client.get("/v1/models?limit=1000", headers=HEADERS).json()
    assert [entry["id"] for entry in page["data"]] == ["fake"]
