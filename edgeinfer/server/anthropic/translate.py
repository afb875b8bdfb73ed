"""Translates Anthropic's requests to the calls of `serving`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer.chat.tools.tool import Tool, ToolChoice, choose, choose_one, distinct, function_tool
from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.server.anthropic.conversation import to_messages
from edgeinfer.server.anthropic.schemas.messages import MessagesRequest, PromptFields
from edgeinfer.server.anthropic.schemas.tools import ToolChoiceField, ToolDefinition
from edgeinfer.server.http.quoting import quoted
from edgeinfer.server.openai.schemas.formats import ANSWER
from edgeinfer.serving.chat import ChatCall, Effort

TYPE = re.compile(r"[A-Za-z0-9_-]{1,64}")

EFFORTS: Mapping[str | None, Effort] = {"low": "low", "medium": "medium", "high": "high"}
"""Efforts that limit thoughts; others do not."""


def chat_call(request: MessagesRequest) -> ChatCall:
    """Raises InvalidRequest, or one of its subclasses, with the field in `param`."""
    budget = request.thinking.budget_tokens if request.thinking else None
    if budget is not None and budget >= request.max_tokens:
        raise InvalidRequest(
            f"max_tokens must be greater than thinking.budget_tokens, which is {budget}",
            param="max_tokens",
        )
    return _call(request, _sampling(request))


def prompt_call(request: PromptFields) -> ChatCall:
    """A call with the prompt of the request. Raises as `chat_call`."""
    return _call(request, {})


def _call(request: PromptFields, sampling: Mapping[str, Any]) -> ChatCall:
    tools = to_tools(request.tools or ())
    thinking, template_kwargs = _thinking(request)
    return ChatCall(
        messages=to_messages(request.system, request.messages),
        tools=tools,
        tool_choice=to_tool_choice(request.tool_choice, tools),
        response_format=_format(request),
        sampling=sampling,
        thinking=thinking,
        template_kwargs=template_kwargs,
    )


def _sampling(request: MessagesRequest) -> dict[str, Any]:
    values = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "max_tokens": max(request.max_tokens, 1),  # the engine computes a prompt for the sake of a token
        "stop": tuple(request.stop_sequences or ()),
    }
    return {name: value for name, value in values.items() if value is not None}


def to_tools(definitions: Sequence[ToolDefinition]) -> tuple[Tool, ...]:
    """The tools that the client describes. Those that Anthropic defines are left out, as long as others remain.

    Raises:
        InvalidRequest: a name or a schema is missing or cannot be used, or two tools have one name.
        UnsupportedParameter: Anthropic defines all of them.
    """
    own = [(n, tool) for n, tool in enumerate(definitions) if tool.is_custom]
    if definitions and not own:
        raise UnsupportedParameter(
            f"a tool of type {quoted(definitions[0].type)} is defined by Anthropic, and there is none here",
            param="tools[0].type",
            hint="describe a tool of your own, with a name, a description and an input_schema",
        )
    return distinct(_tool(definition, f"tools[{n}]") for n, definition in own)


def skipped_tools(request: PromptFields) -> list[str]:
    """The places of the tools that are left out, with their types, safe for a header."""
    tools = enumerate(request.tools or ())
    return [f"tools[{n}]{_plain(tool.type)}" for n, tool in tools if not tool.is_custom]


def _plain(type: str | None) -> str:
    return f" ({type})" if type and TYPE.fullmatch(type) else ""


def _tool(definition: ToolDefinition, where: str) -> Tool:
    for field in ("name", "input_schema"):
        if getattr(definition, field) is None:
            raise InvalidRequest(f"missing parameter: '{where}.{field}'", param=f"{where}.{field}")
    values = {
        "name": definition.name,
        "description": definition.description,
        "parameters": definition.input_schema,
        "strict": definition.strict,
    }
    function = {name: value for name, value in values.items() if value is not None}
    return function_tool(function, where=where, schema="input_schema")


def to_tool_choice(field: ToolChoiceField | None, tools: Sequence[Tool]) -> ToolChoice:
    """The tools that an answer may call.

    Raises:
        InvalidRequest: the choice names a tool that is not among `tools`, or requires a call without any.
    """
    if field is None:
        return choose(tools)
    parallel = not field.disable_parallel_tool_use
    match field.type:
        case "tool":
            if field.name is None:
                raise InvalidRequest("missing parameter: 'tool_choice.name'", param="tool_choice.name")
            return choose_one(tools, field.name, where="tool_choice.name")
        case "any":
            return choose(tools, "required", parallel=parallel)
        case mode:
            return choose(tools, mode, parallel=parallel)


def _format(request: PromptFields) -> GrammarSource | None:
    config = request.output_config
    if config and config.format:
        return GrammarSource(ANSWER, "json_schema", config.format.schema_, "output_config.format.schema")
    if request.output_format:
        return GrammarSource(ANSWER, "json_schema", request.output_format.schema_, "output_format.schema")
    return None


def _thinking(request: PromptFields) -> tuple[int | Effort | None, Mapping[str, Any]]:
    """The limit of the thoughts, and the template's variables that switch them on."""
    config = request.thinking
    if config is None or config.type == "disabled":
        return 0, {}
    switches = {"enable_thinking": True, "thinking": True}
    if config.type == "enabled":
        if config.budget_tokens is None:
            where = "thinking.budget_tokens"
            raise InvalidRequest(f"missing parameter: {where!r}", param=where)
        return config.budget_tokens, switches
    effort = request.output_config.effort if request.output_config else None
    return EFFORTS.get(effort), switches
