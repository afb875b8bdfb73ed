"""Requests as Codex sends them, and what it reads of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.errors import context_exceeded
from tests.support.responses import CALLING, ResponsesWorld, call, events

SHELL: dict[str, Any] = {
    "type": "function",
    "name": "shell",
    "description": "Runs a shell command and returns its output.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": {"type": "string"}},
            "workdir": {"type": "string"},
            "timeout_ms": {"type": "number"},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
}

PATCH: dict[str, Any] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Use the `apply_patch` tool to edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" /(.|\\n)+/'},
}

MCP: dict[str, Any] = {
    "type": "namespace",
    "name": "mcp__docs",
    "description": "Tools in the mcp__docs namespace.",
    "tools": [
        {
            "type": "function",
            "name": "search",
            "description": "Searches",
            "strict": False,
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
        }
    ],
}

OTHERS: list[dict[str, Any]] = [
    {"type": "web_search", "external_web_access": False},
    {"type": "image_generation", "output_format": "png"},
    {"type": "local_shell"},
    {"type": "tool_search", "execution": "client", "description": "", "parameters": {}},
]

USER: list[dict[str, Any]] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandboxed."}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
]


def request(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "model": "scripted",
        "instructions": "You are a coding agent.",
        "input": items,
        "tools": [SHELL, PATCH, MCP, *OTHERS],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199a213-81c0-7800-8aa1-bbab2a035a53",
        "text": {"verbosity": "low"},
        "service_tier": "priority",
        "client_metadata": {"x-codex-installation-id": "11111111"},
    }


@pytest.fixture(autouse=True)
def calling(world: ResponsesWorld) -> None:
    world.engine.model = CALLING


def post(world: ResponsesWorld, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return events(world.post(**request(items)))


def test_a_turn_ends_with_the_items_and_the_usage_that_codex_reads(world: ResponsesWorld) -> None:
    """`created` first, whole items as they end, and an id and token counts at the end."""
    world.engine.pieces = tuple(call("shell", {"command": ["ls"]}))
    found = post(world, USER)
    assert found[0]["type"] == "response.created"
    assert found[0]["response"]
    (done,) = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert done["type"] == "function_call"
    assert (done["name"], done["arguments"]) == ("shell", '{"command": ["ls"]}')
    assert done["call_id"]
    completed = found[-1]["response"]
    assert found[-1]["type"] == "response.completed"
    assert completed["id"].startswith("resp_")
    assert {
        "input_tokens",
        "input_tokens_details",
        "output_tokens",
        "output_tokens_details",
        "total_tokens",
    } == set(completed["usage"])


def test_the_prompt_has_instructions_tools_and_items(world: ResponsesWorld) -> None:
    """Of the tools, those that somebody here can call."""
    post(world, USER)
    prompt = world.prompt()
    assert prompt.endswith("You are a coding agent.\n\nSandboxed.\n[user]List the files.\n[assistant]")
    assert all(f'"name": "{name}"' in prompt for name in ("shell", "apply_patch", "mcp__docs.search"))
    assert "web_search" not in prompt


def test_the_next_turn_has_all_kinds_of_items(world: ResponsesWorld) -> None:
    """Without the ids that Codex leaves out; what says nothing to the model is left out too."""
    history: list[dict[str, Any]] = [
        *USER,
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Look."}],
            "encrypted_content": "gAAA",
        },
        {"type": "function_call", "name": "shell", "arguments": '{"command": ["ls"]}', "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
        {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}},
        {
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": "call_2",
            "name": "apply_patch",
            "input": "***",
        },
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Success."},
        {
            "type": "function_call",
            "name": "search",
            "namespace": "mcp__docs",
            "arguments": "{}",
            "call_id": "call_3",
        },
        {
            "type": "function_call_output",
            "call_id": "call_3",
            "output": [{"type": "input_text", "text": "found"}],
        },
        {
            "type": "local_shell_call",
            "call_id": "c",
            "status": "completed",
            "action": {"type": "exec", "command": []},
        },
        {"type": "ghost_snapshot", "ghost_commit": {}},
        {"type": "compaction", "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Thanks."}]},
    ]
    post(world, history)
    turns = world.prompt().partition("[user]")[2]
    assert turns == (
        "List the files.\n"
        '[assistant]<think>Look.</think><tool_call>\n{"name": "shell", "arguments": {"command": ["ls"]}}\n</tool_call>\n'
        "[tool]a.txt\n"
        '[assistant]<tool_call>\n{"name": "apply_patch", "arguments": {"input": "***"}}\n</tool_call>\n'
        "[tool]Success.\n"
        '[assistant]<tool_call>\n{"name": "mcp__docs.search", "arguments": {}}\n</tool_call>\n'
        "[tool]found\n"
        "[assistant]Done.\n"
        "[user]Thanks.\n[assistant]"
    )


def test_a_context_that_is_full_has_the_code_that_codex_compacts_on(world: ResponsesWorld) -> None:
    """As an event of a stream that has begun."""

    def full() -> None:
        raise context_exceeded(64, "the prompt has 99")

    world.engine.before_first = full
    found = post(world, USER)
    assert (found[0]["type"], found[-1]["type"]) == ("response.created", "response.failed")
    assert found[-1]["response"]["error"]["code"] == "context_length_exceeded"


def test_nothing_of_it_is_refused_or_stored(world: ResponsesWorld) -> None:
    """The header names the tools that are skipped, and the grammar that is not enforced."""
    response = world.post(**request(USER))
    assert response.status_code == 200
    assert response.headers["x-edgeinfer-ignored"] == (
        "tools (web_search), tools (image_generation), tools (local_shell), tools (tool_search), "
        "tools[1].format (lark)"
    )
    assert not world.store.exists() or not list(world.store.iterdir())
