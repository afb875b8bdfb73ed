"""The events of a streamed response. Each says its type, also in the `event` line, and its number."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from edgeinfer.server.responses.types import (
    OutputItem,
    OutputText,
    ReasoningText,
    ResponseObject,
    SummaryText,
)


class ResponseEvent(Struct, kw_only=True):
    sequence_number: int


class ResponseCreated(ResponseEvent, kw_only=True, tag="response.created"):
    response: ResponseObject


class ResponseInProgress(ResponseEvent, kw_only=True, tag="response.in_progress"):
    response: ResponseObject


class ResponseCompleted(ResponseEvent, kw_only=True, tag="response.completed"):
    response: ResponseObject


class ResponseIncomplete(ResponseEvent, kw_only=True, tag="response.incomplete"):
    response: ResponseObject


class ResponseFailed(ResponseEvent, kw_only=True, tag="response.failed"):
    response: ResponseObject


class ItemEvent(ResponseEvent, kw_only=True):
    """An event of the item with this index among the output."""

    output_index: int


class ItemAdded(ItemEvent, kw_only=True, tag="response.output_item.added"):
    item: OutputItem


class ItemDone(ItemEvent, kw_only=True, tag="response.output_item.done"):
    item: OutputItem


class NamedItemEvent(ItemEvent, kw_only=True):
    item_id: str


class PartEvent(NamedItemEvent, kw_only=True):
    content_index: int = 0


class PartAdded(PartEvent, kw_only=True, tag="response.content_part.added"):
    part: OutputText | ReasoningText


class PartDone(PartEvent, kw_only=True, tag="response.content_part.done"):
    part: OutputText | ReasoningText


class OutputTextDelta(PartEvent, kw_only=True, tag="response.output_text.delta"):
    delta: str
    logprobs: list[Any] = []


class OutputTextDone(PartEvent, kw_only=True, tag="response.output_text.done"):
    text: str
    logprobs: list[Any] = []


class ReasoningTextDelta(PartEvent, kw_only=True, tag="response.reasoning_text.delta"):
    delta: str


class ReasoningTextDone(PartEvent, kw_only=True, tag="response.reasoning_text.done"):
    text: str


class SummaryEvent(NamedItemEvent, kw_only=True):
    summary_index: int = 0


class SummaryPartAdded(SummaryEvent, kw_only=True, tag="response.reasoning_summary_part.added"):
    part: SummaryText


class SummaryPartDone(SummaryEvent, kw_only=True, tag="response.reasoning_summary_part.done"):
    part: SummaryText


class SummaryTextDelta(SummaryEvent, kw_only=True, tag="response.reasoning_summary_text.delta"):
    delta: str


class SummaryTextDone(SummaryEvent, kw_only=True, tag="response.reasoning_summary_text.done"):
    text: str


class ArgumentsDelta(NamedItemEvent, kw_only=True, tag="response.function_call_arguments.delta"):
    delta: str


class ArgumentsDone(NamedItemEvent, kw_only=True, tag="response.function_call_arguments.done"):
    name: str
    arguments: str


class CustomInputDelta(NamedItemEvent, kw_only=True, tag="response.custom_tool_call_input.delta"):
    delta: str


class CustomInputDone(NamedItemEvent, kw_only=True, tag="response.custom_tool_call_input.done"):
    input: str


_encoder = msgspec.json.Encoder()


def encode(event: ResponseEvent) -> bytes:
    """The event as a server-sent event."""
    kind = str(event.__struct_config__.tag).encode()
    return b"event: " + kind + b"\ndata: " + _encoder.encode(event) + b"\n\n"
