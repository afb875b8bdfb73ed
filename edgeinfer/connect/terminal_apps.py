"""Programs for the terminal: aider, opencode, Crush, Codex, Claude Code and llm."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from edgeinfer.connect.app import KEY_VARIABLE, App, AppEndpoint, Places, Setup
from edgeinfer.connect.edits import Block, JsonValues, OwnFile
from edgeinfer.errors import EdgeinferError

AGENT_CONTEXT = 32768
"""Tokens that an agent needs, whose instructions and tools take up to half of them."""

ANSWER = 4096
"""Tokens of one answer that agents are told to expect at most."""


def aider(endpoint: AppEndpoint, places: Places) -> Setup:
    name = f"openai/{endpoint.model}"
    config = places.home / ".aider.edgeinfer.yml"
    metadata = places.home / ".aider.edgeinfer.json"
    context = endpoint.context or 8192
    facts = {
        "max_tokens": _answer(context),
        "max_input_tokens": context,
        "max_output_tokens": _answer(context),
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
        "litellm_provider": "openai",
        "mode": "chat",
    }
    values = {
        "model": name,
        "weak-model": name,
        "openai-api-base": endpoint.openai_url,
        "model-metadata-file": str(metadata),
    }
    start = f"aider --config {shlex.quote(str(config))}"
    if endpoint.key_needed:
        start = f'OPENAI_API_KEY="${KEY_VARIABLE}" {start}'
    else:
        values["openai-api-key"] = "none"
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
    edits = [(config, OwnFile(text)), (metadata, OwnFile(_json({name: facts})))]
    return Setup(edits, [f"start it with: {start}"])


def opencode(endpoint: AppEndpoint, places: Places) -> Setup:
    context = endpoint.context or AGENT_CONTEXT
    key = f"{{env:{KEY_VARIABLE}}}" if endpoint.key_needed else "none"
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "edgeinfer",
        "options": {"baseURL": endpoint.openai_url, "apiKey": key},
        "models": {
            endpoint.model: {
                "name": endpoint.model,
                "limit": {"context": context, "output": _answer(context)},
            }
        },
    }
    model = f"edgeinfer/{endpoint.model}"
    edit = JsonValues(
        values=[(("provider", "edgeinfer"), provider)],
        unless_set=[(("$schema",), "https://opencode.ai/config.json"), (("model",), model)],
    )
    folder = places.config() / "opencode"
    names = [folder / "opencode.jsonc", folder / "opencode.json"]
    path = next((path for path in names if path.exists()), names[-1])
    return Setup([(path, edit)], [f"start it with: opencode --model {shlex.quote(model)}"])


def crush(endpoint: AppEndpoint, places: Places) -> Setup:
    context = endpoint.context or AGENT_CONTEXT
    key = f' --api-key "${KEY_VARIABLE}"' if endpoint.key_needed else ""
    model = shlex.quote(endpoint.model)
    lines = (
        f"provider add edgeinfer --type llamacpp --base-url {shlex.quote(endpoint.url)}{key}\n"
        f"model add edgeinfer/{model} --name {model}"
        f" --context-window {context} --default-max-tokens {_answer(context)}\n"
    )
    return Setup(
        [(places.config() / "crush/crushrc", Block(lines))],
        [f"start crush and choose the model {endpoint.model} of edgeinfer"],
    )


def codex(endpoint: AppEndpoint, places: Places) -> Setup:
    """A profile, and a catalogue with the model: without one, Codex guesses its context."""
    folder = places.named("CODEX_HOME") or places.home / ".codex"
    catalogue = folder / "edgeinfer.models.json"
    lines = [
        f"model = {json.dumps(endpoint.model)}",
        'model_provider = "edgeinfer"',
        f"model_catalog_json = {json.dumps(str(catalogue))}",
        'web_search = "disabled"',
        "",
        "[model_providers.edgeinfer]",
        'name = "edgeinfer"',
        f"base_url = {json.dumps(endpoint.openai_url)}",
        'wire_api = "responses"',
    ]
    if endpoint.key_needed:
        lines.append(f'env_key = "{KEY_VARIABLE}"')
    edits = [
        (folder / "edgeinfer.config.toml", OwnFile("\n".join(lines) + "\n")),
        (catalogue, OwnFile(_json({"models": [_codex_model(endpoint)]}))),
    ]
    return Setup(edits, ["start it with: codex --profile edgeinfer"])


def _codex_model(endpoint: AppEndpoint) -> dict[str, Any]:
    """Describe the model; without instructions of its own, as Codex's long ones cost a board minutes."""
    return {
        "slug": endpoint.model,
        "display_name": endpoint.model_name or endpoint.model,
        "context_window": endpoint.context or AGENT_CONTEXT,
        "shell_type": "default",
        "visibility": "list",
        "supported_in_api": True,
        "priority": 0,
        "truncation_policy": {"mode": "bytes", "limit": 10000},
        "input_modalities": ["text"],
        "base_instructions": "",
        "support_verbosity": False,
        "supports_parallel_tool_calls": True,
        "supports_reasoning_summaries": False,
        "supported_reasoning_levels": [],
        "experimental_supported_tools": [],
    }


def claude_code(endpoint: AppEndpoint, places: Places) -> Setup:
    """Its `default` is a model of Anthropic's, so that it must have the real name."""
    model = endpoint.model if endpoint.model != "default" else endpoint.model_name
    if model is None:
        raise EdgeinferError(
            "Claude Code needs the name of a model, and no daemon can be asked for one",
            hint="edgeinfer connect claude-code --model NAME",
        )
    folder = places.named("CLAUDE_CONFIG_DIR") or places.home / ".claude"
    env = {
        "ANTHROPIC_BASE_URL": endpoint.url,
        "ANTHROPIC_API_KEY": "",
        **{f"ANTHROPIC_DEFAULT_{size}_MODEL": model for size in ("OPUS", "SONNET", "HAIKU")},
        "CLAUDE_CODE_SUBAGENT_MODEL": model,
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(endpoint.context or AGENT_CONTEXT),
    }
    settings: dict[str, Any] = {"model": model, "env": env}
    if endpoint.key_needed:
        settings["apiKeyHelper"] = f"printenv {KEY_VARIABLE}"
    else:
        env["ANTHROPIC_AUTH_TOKEN"] = "none"
    path = folder / "edgeinfer.json"
    return Setup(
        [(path, OwnFile(_json(settings)))], [f"start it with: claude --settings {shlex.quote(str(path))}"]
    )


def llm(endpoint: AppEndpoint, places: Places) -> Setup:
    lines = [
        "- model_id: edgeinfer",
        f"  model_name: {json.dumps(endpoint.model)}",
        f"  api_base: {json.dumps(endpoint.openai_url)}",
        "  supports_tools: true",
        "  supports_schema: true",
    ]
    steps = ['ask it with: llm -m edgeinfer "Who are you?"']
    if endpoint.key_needed:
        lines.append("  api_key_name: edgeinfer")
        steps.insert(0, f'give it the key: llm keys set edgeinfer --value "${KEY_VARIABLE}"')
    text = "\n".join(lines) + "\n"
    return Setup([(_llm_folder(places) / "extra-openai-models.yaml", Block(text, yaml_list=True))], steps)


def _llm_folder(places: Places) -> Path:
    return places.named("LLM_USER_PATH") or places.application("io.datasette.llm")


def _answer(context: int) -> int:
    """Leave room for the question."""
    return min(ANSWER, context // 2)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


TERMINAL_APPS = (
    App("aider", "aider", 8192, "chat", aider, ("aider",)),
    App("opencode", "opencode", AGENT_CONTEXT, "chat", opencode, ("opencode",)),
    App("crush", "Crush", AGENT_CONTEXT, "chat", crush, ("crush",)),
    App("codex", "Codex", AGENT_CONTEXT, "responses", codex, ("codex",)),
    App("claude-code", "Claude Code", AGENT_CONTEXT, "messages", claude_code, ("claude",)),
    App("llm", "llm", 2048, "chat", llm, ("llm",), _llm_folder),
)
