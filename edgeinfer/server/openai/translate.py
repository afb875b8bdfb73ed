"""Translates OpenAI's requests to the calls of `serving`. Everything in them is checked here, and once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer.chat.message import Message, Role, ToolCall
from edgeinfer.chat.tools.tool import Tool, ToolChoice, choose, choose_one, distinct, find_tool, function_tool
from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.json_decoder import JsonDecoder
from edgeinfer.server.openai.schemas.chat import (
    ChatMessageParam,
    ChatRequest,
    FunctionCallParam,
    RoleParam,
    TextPart,
    ToolCallParam,
)
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.tools import (
    AllowedToolsChoice,
    FunctionDefinition,
    FunctionReference,
    NamedTool,
    ToolChoiceParam,
    ToolParam,
)
from edgeinfer.serving.chat import ChatCall, Effort
from edgeinfer.serving.completion import CompletionCall

ROLES: Mapping[RoleParam, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def chat_call(request: ChatRequest) -> ChatCall:
    """Raises InvalidRequest, or one of its subclasses, with the field in `param`."""
    request.check_stream()
    request.check_continuation()
    request.check_functions()
    messages = to_messages(request.messages)
    tools = to_functions(request.functions) if request.functions else to_tools(request.tools or ())
    request.check_format(bool(tools))
    return ChatCall(
        messages=messages,
        tools=tools,
        tool_choice=_choice(request, tools),
        response_format=request.format_source(),
        complete=request.complete,
        sampling=request.sampling(request.token_limit(), request.logprob_count()),
        n=request.n,
        thinking=_thinking(request),
        template_kwargs=request.chat_template_kwargs or {},
        num_ctx=request.num_ctx,
    )


def completion_call(request: CompletionRequest) -> CompletionCall:
    """Raises InvalidRequest, or one of its subclasses, with the field in `param`."""
    request.check_stream()
    request.check_echo()
    request.check_format()
    return CompletionCall(
        prompts=request.prompt,
        suffix=request.suffix,
        echo=request.echo,
        response_format=request.format_source(),
        complete=request.complete,
        sampling=request.sampling(request.token_limit(), request.logprobs),
        n=request.n,
        num_ctx=request.num_ctx,
    )


def to_messages(params: Sequence[ChatMessageParam]) -> list[Message]:
    """The messages of a request.

    Raises:
        InvalidRequest: a message has neither content nor anything else to say.
    """
    decoder = JsonDecoder()
    return [_message(param, f"messages[{n}]", decoder) for n, param in enumerate(params)]


def to_tools(params: Sequence[ToolParam]) -> tuple[Tool, ...]:
    """The tools of a request.

    Raises:
        InvalidRequest: a name or a schema cannot be used, or two tools have one name.
    """
    return distinct(
        function_tool(_definition(param.function), where=f"tools[{n}].function")
        for n, param in enumerate(params)
    )


def to_functions(params: Sequence[FunctionDefinition]) -> tuple[Tool, ...]:
    """The tools of a request in the form that OpenAI had before. Raises InvalidRequest as `to_tools` does."""
    return distinct(
        function_tool(_definition(param), where=f"functions[{n}]") for n, param in enumerate(params)
    )


def _choice(request: ChatRequest, tools: Sequence[Tool]) -> ToolChoice:
    mode = request.function_call
    if isinstance(mode, FunctionReference):
        return choose_one(tools, mode.name, where="function_call.name")
    if request.functions:
        return choose(tools, mode or "auto", parallel=False)
    return to_tool_choice(request.tool_choice, tools, parallel=request.parallel_tool_calls)


def to_tool_choice(
    param: ToolChoiceParam | None, tools: Sequence[Tool], *, parallel: bool = True
) -> ToolChoice:
    """The tools that an answer may call.

    Raises:
        InvalidRequest: the choice names a tool that is not among `tools`, or requires a call without any.
    """
    match param:
        case NamedTool():
            return choose_one(tools, param.function.name, where="tool_choice.function.name")
        case AllowedToolsChoice():
            where = "tool_choice.allowed_tools"
            allowed = [
                find_tool(tools, reference.function.name, where=f"{where}.tools[{n}].function.name")
                for n, reference in enumerate(param.allowed_tools.tools)
            ]
            subset = [tool for tool in tools if tool in allowed]
            return choose(subset, param.allowed_tools.mode, parallel=parallel, where=where)
        case _:
            return choose(tools, param or "auto", parallel=parallel)


def _definition(function: FunctionDefinition) -> dict[str, Any]:
    """The definition of a function, without the fields that it leaves out."""
    values = {"name": function.name, "description": function.description, "parameters": function.parameters}
    return {name: value for name, value in {**values, "strict": function.strict}.items() if value is not None}


def _thinking(request: ChatRequest) -> int | Effort | None:
    if request.thinking_budget is not None:
        return request.thinking_budget
    match request.reasoning_effort:
        case "none":
            return 0
        case None | "xhigh" | "max":
            return None
        case effort:
            return effort


def _message(param: ChatMessageParam, where: str, decoder: JsonDecoder) -> Message:
    if _says_nothing(param):
        raise InvalidRequest(f"{where} has no content", param=f"{where}.content")
    calls = [_call(call, decoder) for call in param.tool_calls or ()]
    if param.function_call:
        calls.append(_function_call(param.function_call, decoder))
    return Message(
        role=ROLES[param.role],
        content=_text((param.refusal if param.content is None else param.content) or ""),
        name=param.name,
        reasoning=param.reasoning_content or param.reasoning,
        tool_calls=tuple(calls),
        tool_call_id=param.tool_call_id,
    )


def _says_nothing(param: ChatMessageParam) -> bool:
    """A null says that there is no content, which answers and results may have: an answer can have been cut."""
    if ROLES[param.role] in ("system", "user"):
        return param.content is None
    has_more = (
        param.tool_calls or param.function_call or param.reasoning_content or param.reasoning or param.refusal
    )
    return "content" not in param.model_fields_set and not has_more


def _text(content: str | Sequence[TextPart]) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _call(param: ToolCallParam, decoder: JsonDecoder) -> ToolCall:
    return _function_call(param.function, decoder, param.id)


def _function_call(param: FunctionCallParam, decoder: JsonDecoder, id: str | None = None) -> ToolCall:
    return ToolCall(param.name, _arguments(param.arguments, decoder), id)


def _arguments(arguments: str | Mapping[str, Any] | None, decoder: JsonDecoder) -> Mapping[str, Any] | str:
    """An object where it is one. Anything else stays the text it is: an answer that was cut has such calls."""
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        value = decoder.decode((arguments or "{}").encode())  # some models leave them out
    except InvalidRequest:
        return arguments
    return value if isinstance(value, dict) else arguments
