"""Rewrites what other servers call the form of an answer, its thoughts and its options to our own fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.json_decoder import JsonDecoder
from edgeinfer.server.http.quoting import quoted
from edgeinfer.server.http.unknown_fields import MAX_DIFFERENT, near_miss

Values = dict[str, Any]

FORMATS: Mapping[str, str] = {
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "guided_json": "json",
    "guided_regex": "regex",
}
"""vLLM's older fields, and what each is called in its `structured_outputs`."""

REASONING = frozenset(
    {"effort", "max_tokens", "budget_tokens", "enabled", "type", "exclude", "summary", "generate_summary"}
)
"""Fields of OpenRouter's `reasoning` and Anthropic's `thinking`."""

EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})


def adapt_options(values: Values) -> None:
    """Move Ollama's `options` to the request itself."""
    options = values.pop("options", None)
    if options is None:
        return
    if not isinstance(options, dict):
        raise InvalidRequest("options must be an object", param="options")
    for name, value in options.items():
        if value is not None:
            _put(values, name, value, f"options.{name}")


def adapt_format(values: Values) -> None:
    """Turn Ollama's `format` and vLLM's `structured_outputs` and `guided_…` into a response_format."""
    if (form := values.pop("format", None)) not in (None, ""):
        _put_format(values, {"json_object": True} if form == "json" else {"json": form}, "format")
    if (outputs := values.pop("structured_outputs", None)) is not None:
        if not isinstance(outputs, dict):
            raise InvalidRequest("structured_outputs must be an object", param="structured_outputs")
        _put_format(values, outputs, "structured_outputs")
    for field, kind in FORMATS.items():
        if (content := values.pop(field, None)) is not None:
            _put_format(values, {kind: content}, field)


def adapt_thinking(values: Values) -> None:
    """Turn the switches and budgets of other servers into reasoning_effort, thinking_budget and template variables."""
    for name in ("enable_thinking", "think"):
        if (wanted := values.pop(name, None)) is not None:
            _put_thinking(values, wanted, name)
    for name in ("reasoning_budget", "thinking_budget_tokens", "thinking_token_budget"):
        if (budget := values.pop(name, None)) not in (None, -1):
            _put(values, "thinking_budget", budget, name)
    for name in ("reasoning", "thinking"):
        if (wanted := values.pop(name, None)) is not None:
            _put_reasoning(values, wanted, name)


def _put(values: Values, name: str, value: object, source: str) -> None:
    if name in values and values[name] != value:
        raise InvalidRequest(f"{source} and {name} have different values: use one of them", param=source)
    values[name] = value


def _put_format(values: Values, outputs: Mapping[str, Any], source: str) -> None:
    given = {kind: content for kind, content in outputs.items() if content not in (None, False)}
    match given:
        case {"json": content} if len(given) == 1:
            form = {"type": "json_schema", "json_schema": {"schema": _schema(content, source)}}
        case {"regex": content} if len(given) == 1:
            form = {"type": "regex", "pattern": content}
        case {"choice": content} if len(given) == 1:
            form = {"type": "choice", "choices": content}
        case {"grammar": content} if len(given) == 1:
            form = {"type": "grammar", "grammar": content}
        case {"json_object": True} if len(given) == 1:
            form = {"type": "json_object"}
        case _:
            raise InvalidRequest(
                f"{source} must have one of json, regex, choice, grammar and json_object", param=source
            )
    if values.get("response_format", {"type": "text"}) != {"type": "text"}:
        raise InvalidRequest(f"response_format and {source} cannot be combined", param=source)
    values["response_format"] = form


def _schema(content: object, source: str) -> object:
    """A schema, which may be written as a text."""
    if not isinstance(content, str):
        return content
    try:
        return JsonDecoder().decode(content.encode())
    except InvalidRequest:
        raise InvalidRequest(f"{source} must be a JSON schema, not {quoted(content)}", param=source) from None


def _put_thinking(values: Values, wanted: object, source: str) -> None:
    if wanted is False:
        _put(values, "reasoning_effort", "none", source)
    elif wanted is True:
        variables = values.get("chat_template_kwargs", {})
        if isinstance(variables, dict):
            values["chat_template_kwargs"] = {"enable_thinking": True, "thinking": True, **variables}
    elif isinstance(wanted, str) and wanted in EFFORTS:
        _put(values, "reasoning_effort", wanted, source)
    else:
        raise InvalidRequest(f"{source} must be true or false", param=source)


def _put_reasoning(values: Values, wanted: object, source: str) -> None:
    """An object: OpenRouter's has `effort`, `max_tokens`, `enabled`, Anthropic's `type` and `budget_tokens`."""
    if not isinstance(wanted, dict):
        _put_thinking(values, wanted, source)
        return
    if len(wanted) > MAX_DIFFERENT:
        raise InvalidRequest(f"{source} has more than {MAX_DIFFERENT} fields", param=source)
    for key, value in wanted.items():
        match key, value:
            case _, None:
                pass
            case "effort", _:
                _put(values, "reasoning_effort", value, f"{source}.{key}")
            case (("max_tokens" | "budget_tokens"), _):
                _put(values, "thinking_budget", value, f"{source}.{key}")
            case "enabled", bool():
                _put_thinking(values, value, f"{source}.{key}")
            case "type", ("enabled" | "disabled"):
                _put_thinking(values, value == "enabled", f"{source}.{key}")
            case ("type", ("auto" | "adaptive")) | ("exclude", False) | ("summary" | "generate_summary", _):
                pass
            case _ if key not in REASONING and not near_miss(key, REASONING):
                values[f"{source}.{key}"] = value  # an unknown field, which is noted as all of them are
            case _:
                raise InvalidRequest(f"{source}.{key} is not supported here", param=f"{source}.{key}")
