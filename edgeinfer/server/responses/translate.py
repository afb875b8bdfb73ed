"""Translates a request to a call of `serving`, and to the beginning of its response."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from edgeinfer.chat.tools.tool import ToolChoice
from edgeinfer.errors import InvalidRequest
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.server.openai.schemas.formats import ANSWER
from edgeinfer.server.responses.conversation import to_messages
from edgeinfer.server.responses.output import OutputOptions
from edgeinfer.server.responses.schemas.items import InputItem, ItemReference, OtherItem
from edgeinfer.server.responses.schemas.request import (
    ENCRYPTED_THOUGHTS,
    LOGPROBS,
    AnyJsonObject,
    JsonText,
    ResponsesRequest,
)
from edgeinfer.server.responses.toolset import Toolset, to_toolset
from edgeinfer.server.responses.types import ReasoningEcho, ResponseObject
from edgeinfer.serving.chat import ChatCall, Effort

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed")
"""Sampling fields that are called as in SamplingParams."""


class PreparedRequest(msgspec.Struct, frozen=True):
    """A request that has been checked, except for what it refers to.

    Attributes:
        ignored: what was left out, with its place in the request, safe for a header.
        whole_call: the call, if the request refers to nothing that is stored.
    """

    body: ResponsesRequest
    toolset: Toolset
    tool_choice: ToolChoice
    ignored: tuple[str, ...]
    whole_call: ChatCall | None = None

    @property
    def options(self) -> OutputOptions:
        packs = ENCRYPTED_THOUGHTS in self.body.include
        return OutputOptions(self.toolset.origins, self.body.summarizes, packs)

    def call(self, items: Sequence[InputItem]) -> ChatCall:
        """The call for a conversation of these items.

        Raises:
            InvalidRequest: there are none.
        """
        body = self.body
        messages = to_messages([entry.item for entry in items], body.instructions)
        if not items:
            raise InvalidRequest("missing parameter: 'input'", param="input")
        if not messages:
            raise InvalidRequest("input has nothing that the model can read", param="input")
        if messages[-1].tool_calls:
            raise InvalidRequest(
                "input ends with a call, and not with what the tool returned",
                param="input",
                hint="add a function_call_output with its call_id, or leave the call out",
            )
        return ChatCall(
            messages=messages,
            tools=self.toolset.tools,
            tool_choice=self.tool_choice,
            response_format=_format(body),
            sampling=_sampling(body),
            thinking=_thinking(body),
            truncate=body.truncation == "auto",
        )


def prepare(body: ResponsesRequest) -> PreparedRequest:
    """Check a request. Raises InvalidRequest, or one of its subclasses, with the field in `param`."""
    if body.top_logprobs is not None and LOGPROBS not in body.include:
        raise InvalidRequest(
            "top_logprobs requires log-probabilities",
            param="top_logprobs",
            hint=f"add {LOGPROBS!r} to include",
        )
    toolset = to_toolset(body.offered)
    choice = toolset.choice(body.tool_choice, parallel=body.parallel_tool_calls)
    ignored = [f"tools ({_plain(name)})" for name in toolset.skipped]
    ignored += [f"{field} (lark)" for field in toolset.unenforced]
    for n, entry in enumerate(body.items):
        if isinstance(entry.item, OtherItem):
            ignored.append(f"input[{n}] ({_plain(entry.item.type)})")
    if body.stream_options and body.stream_options.include_obfuscation:
        ignored.append("stream_options.include_obfuscation")
    prepared = PreparedRequest(body, toolset, choice, tuple(ignored))
    if body.previous_response_id or any(isinstance(entry.item, ItemReference) for entry in body.items):
        return prepared
    return msgspec.structs.replace(prepared, whole_call=prepared.call(body.items))


def begin_response(id: str, request: PreparedRequest, model: str, *, store: bool) -> ResponseObject:
    """The response before its first item. `store`: it will be stored."""
    body = request.body
    effort = body.reasoning.effort if body.reasoning else None
    return ResponseObject(
        id=id,
        created_at=int(time.time()),
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        max_tool_calls=body.max_tool_calls,
        metadata=body.metadata,
        model=model,
        parallel_tool_calls=body.parallel_tool_calls,
        previous_response_id=body.previous_response_id,
        prompt_cache_key=body.prompt_cache_key,
        reasoning=ReasoningEcho(effort, body.summary),
        safety_identifier=body.safety_identifier,
        service_tier=body.service_tier,
        store=store,
        temperature=body.temperature,
        text=_text(body),
        tool_choice=_selection(body),
        tools=msgspec.Raw(msgspec.json.encode([tool.raw for tool in body.offered])),
        top_logprobs=body.top_logprobs or 0,
        top_p=body.top_p,
        truncation=body.truncation,
        user=body.user,
    )


def _plain(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,129}", name) else "other"


def _format(body: ResponsesRequest) -> GrammarSource | None:
    form = body.text and body.text.format
    match form:
        case AnyJsonObject():
            return GrammarSource(ANSWER, "json_schema", {"type": "object"}, "text.format")
        case JsonText():
            return GrammarSource(ANSWER, "json_schema", form.schema_, "text.format.schema")
    return None


def _sampling(body: ResponsesRequest) -> dict[str, Any]:
    values = {name: value for name in SAMPLING if (value := getattr(body, name)) is not None}
    wants_logprobs = LOGPROBS in body.include
    return {
        **values,
        "max_tokens": body.max_output_tokens,
        "logprobs": (body.top_logprobs or 0) if wants_logprobs else None,
    }


def _thinking(body: ResponsesRequest) -> int | Effort | None:
    effort = body.reasoning.effort if body.reasoning else None
    match effort:
        case "none":
            return 0
        case "minimal" | "low" | "medium" | "high":
            return effort
    return None


def _text(body: ResponsesRequest) -> Any:
    text = body.text.model_dump(by_alias=True, exclude_none=True) if body.text else {}
    return msgspec.Raw(msgspec.json.encode({"format": {"type": "text"}, "verbosity": "medium", **text}))


def _selection(body: ResponsesRequest) -> Any:
    selection = body.tool_choice
    return selection if isinstance(selection, str) else selection.model_dump(exclude_none=True)
