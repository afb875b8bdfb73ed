"""Translates Ollama's requests to the calls of `serving`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeinfer.chat.message import Message, Role, ToolCall
from edgeinfer.chat.tools.tool import Tool, choose, distinct, function_tool
from edgeinfer.server.ollama.schemas.chat import (
    CallParam,
    OllamaChatRequest,
    OllamaMessageParam,
    OllamaRole,
    OllamaTool,
)
from edgeinfer.server.ollama.schemas.generate import OllamaGenerateRequest
from edgeinfer.server.ollama.schemas.generation import check_images
from edgeinfer.server.ollama.tool_results import ToolResults
from edgeinfer.serving.chat import ChatCall
from edgeinfer.serving.completion import CompletionCall

ROLES: dict[OllamaRole, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def chat_call(request: OllamaChatRequest) -> ChatCall:
    """Raises InvalidRequest, or one of its subclasses, with the field in `param`."""
    tools = _tools(request.tools or ())
    return ChatCall(
        messages=to_messages(request.messages),
        tools=tools,
        tool_choice=choose(tools),
        response_format=request.source(),
        sampling=request.sampling(),
        thinking=request.thinking,
        truncate=request.truncate,
    )


def prompt_call(request: OllamaGenerateRequest) -> ChatCall | CompletionCall:
    """A conversation of one question; or a text to continue as it is, where it is raw or has a suffix.

    Raises:
        InvalidRequest: or one of its subclasses, with the field in `param`.
    """
    request.check()
    if request.raw or request.suffix:
        return CompletionCall(
            prompts=[request.prompt],
            suffix=request.suffix,
            response_format=request.source(),
            sampling=request.sampling(),
        )
    system = [Message(role="system", content=request.system)] if request.system else []
    return ChatCall(
        messages=[*system, Message(role="user", content=request.prompt)],
        response_format=request.source(),
        sampling=request.sampling(),
        thinking=request.thinking,
    )


def to_messages(params: Sequence[OllamaMessageParam]) -> list[Message]:
    """The messages of a request. Every result is matched with the call that it answers."""
    results = ToolResults()
    return [_message(param, f"messages[{n}]", results) for n, param in enumerate(params)]


def _message(param: OllamaMessageParam, where: str, results: ToolResults) -> Message:
    check_images(param.images, f"{where}.images")
    calls = tuple(_call(call, results) for call in param.tool_calls or ())
    is_result = param.role == "tool"
    return Message(
        role=ROLES[param.role],
        content=param.content or "",
        name=param.tool_name if is_result else None,
        reasoning=param.thinking or None,
        tool_calls=calls,
        tool_call_id=results.match(param.tool_call_id, param.tool_name) if is_result else None,
    )


def _call(param: CallParam, results: ToolResults) -> ToolCall:
    function = param.function
    return ToolCall(function.name, function.arguments or {}, results.expect(function.name, param.id))


def _tools(params: Sequence[OllamaTool]) -> tuple[Tool, ...]:
    """The tools of a request. Raises InvalidRequest as `function_tool` and `distinct` do."""
    return distinct(
        function_tool(_function(param), where=f"tools[{n}].function") for n, param in enumerate(params)
    )


def _function(param: OllamaTool) -> dict[str, Any]:
    """The definition of a function, without the fields that it leaves out."""
    return param.function.model_dump(exclude_none=True)
