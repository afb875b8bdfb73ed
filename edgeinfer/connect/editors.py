"""Editors and what extends them: Continue, llama.vscode, llama.vim, Zed and Copilot."""

from __future__ import annotations

import json
import shlex
from typing import Any

from edgeinfer.connect.app import KEY_VARIABLE, App, AppEndpoint, Places, Setup
from edgeinfer.connect.edits import JsonItem, JsonValues, OwnFile

INSTALL_FILLER = "completion needs a model that fills gaps: edgeinfer install --auto-quant --code"


def continue_(endpoint: AppEndpoint, places: Places) -> Setup:
    """Files of our own in the folder of models, which Continue adds to every configuration; each has one model."""
    model = _continue_model("edgeinfer", endpoint.model, endpoint)
    model |= {"roles": ["chat", "edit", "apply"], "capabilities": ["tool_use"]}
    if endpoint.context:
        model["defaultCompletionOptions"] = {"contextLength": endpoint.context}
    folder = places.home / ".continue/models"
    edits = [(folder / "edgeinfer.yaml", _continue_file(model))]
    if endpoint.fill_model:  # Ollama's API fills gaps with the model's own tokens
        filler = _continue_model("edgeinfer completion", endpoint.fill_model, endpoint)
        filler |= {"provider": "ollama", "apiBase": endpoint.url, "roles": ["autocomplete"]}
        edits.append((folder / "edgeinfer-completion.yaml", _continue_file(filler)))
    start = f"cn --config {shlex.quote(str(folder / 'edgeinfer.yaml'))}"
    steps = [f"choose the model edgeinfer in Continue; its command line is started with: {start}"]
    if endpoint.key_needed:
        steps.append(f"put the key into ~/.continue/.env: {KEY_VARIABLE}=…")
    return Setup(edits, steps + _filler_step(endpoint))


def _continue_file(model: dict[str, Any]) -> OwnFile:
    first, *rest = (f"{key}: {json.dumps(value)}" for key, value in model.items())
    head = f"name: {json.dumps(model['name'])}\nversion: 0.0.1\nschema: v1\nmodels:\n"
    return OwnFile(head + f"  - {first}\n" + "".join(f"    {entry}\n" for entry in rest))


def _continue_model(name: str, model: str, endpoint: AppEndpoint) -> dict[str, Any]:
    facts = {"name": name, "provider": "openai", "model": model, "apiBase": endpoint.openai_url}
    key = f"${{{{ secrets.{KEY_VARIABLE} }}}}" if endpoint.key_needed else "none"
    return {**facts, "apiKey": key}


def llama_vscode(endpoint: AppEndpoint, places: Places) -> Setup:
    names = ("endpoint", "endpoint_chat", "endpoint_tools", "endpoint_embeddings")
    values: list[tuple[tuple[str, ...], str]] = [((f"llama-vscode.{name}",), endpoint.url) for name in names]
    steps = []
    if endpoint.key_needed:
        steps.append("put the key into VS Code's settings llama-vscode.api_key and llama-vscode.api_key_chat")
    return Setup([(places.vs_code() / "settings.json", JsonValues(values))], steps + _filler_step(endpoint))


def llama_vim(endpoint: AppEndpoint, places: Places) -> Setup:
    """A plugin file for each of Vim and Neovim; it acts before and after llama.vim is loaded."""
    entries = {
        "endpoint_fim": _vim(endpoint.url + "/infill"),
        "endpoint_inst": _vim(endpoint.openai_url + "/chat/completions"),
        "model_fim": _vim(endpoint.fill_model or ""),
        "model_inst": _vim(endpoint.model),
    }
    if endpoint.key_needed:
        entries["api_key"] = f"${KEY_VARIABLE}"
    config = ", ".join(f"'{key}': {value}" for key, value in entries.items())
    text = f"let g:llama_config = extend(get(g:, 'llama_config', {{}}), {{{config}}})\n"
    vim, neovim = places.home / ".vim", places.config() / "nvim"
    folders = [folder for folder in (vim, neovim) if folder.is_dir()] or [vim]
    edits = [(folder / "plugin/edgeinfer.vim", OwnFile(text)) for folder in folders]
    return Setup(edits, ["restart the editor", *_filler_step(endpoint)])


def _vim(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def zed(endpoint: AppEndpoint, places: Places) -> Setup:
    """ConfigEdit prediction is set only where nobody has chosen one."""
    models = ("language_models", "llama.cpp")
    values: list[tuple[tuple[str, ...], Any]] = [
        ((*models, "api_url"), endpoint.url),
        ((*models, "auto_discover"), True),
    ]
    unless_set: list[tuple[tuple[str, ...], Any]] = []
    filler = endpoint.fill_model or ""
    if "qwen" in filler.lower():
        prediction = {
            "provider": "open_ai_compatible_api",
            "open_ai_compatible_api": {
                "api_url": endpoint.openai_url + "/completions",
                "model": filler,
                "prompt_format": "qwen",
                "max_output_tokens": 256,
            },
        }
        unless_set.append((("edit_predictions",), prediction))
    steps = ["choose a model of llama.cpp in Zed's assistant"]
    if endpoint.key_needed:
        steps.append(f'start Zed with: LLAMACPP_API_KEY="${KEY_VARIABLE}" zed')
    return Setup([(places.config() / "zed/settings.json", JsonValues(values, unless_set))], steps)


def copilot(endpoint: AppEndpoint, places: Places) -> Setup:
    item = {"vendor": "ollama", "name": "edgeinfer", "url": endpoint.url}
    steps = ["choose the model in VS Code's chat, under Manage Models"]
    if endpoint.key_needed:
        steps.append("VS Code sends no key to an Ollama address: it needs a daemon that asks for none")
    edit = JsonItem(item, ("vendor", "name"))
    return Setup([(places.vs_code() / "chatLanguageModels.json", edit)], steps)


def _filler_step(endpoint: AppEndpoint) -> list[str]:
    return [INSTALL_FILLER] if endpoint.context and not endpoint.fill_model else []


EDITORS = (
    App("continue", "Continue", 16384, "chat", continue_, ("cn",), lambda p: p.home / ".continue"),
    App("llama.vscode", "llama.vscode", 4096, "infill", llama_vscode, ("code", "codium"), Places.vs_code),
    App("llama.vim", "llama.vim", 4096, "infill", llama_vim, ("vim", "nvim")),
    App("zed", "Zed", 8192, "chat", zed, ("zed", "zeditor"), lambda p: p.config() / "zed"),
    App("copilot", "Copilot in VS Code", 16384, "ollama", copilot, ("code",), Places.vs_code),
)
