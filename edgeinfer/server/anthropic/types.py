"""Anthropic's responses as structs, which msgspec encodes in a microsecond."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]


class MessageUsage(Struct):
    """The cost of a request. The whole prompt is what was read from the cache and `input_tokens` together.

    Nothing is written to a cache that had to be paid for, so `cache_creation_input_tokens` is 0.
    """

    input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int = 0
    service_tier: Literal["standard"] = "standard"


class TextContent(Struct, tag_field="type", tag="text"):
    text: str


class ThinkingContent(Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class ToolUseContent(Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any] | msgspec.Raw


class MessageResponse(Struct, tag_field="type", tag="message"):
    """An answer. At the beginning of a stream it has neither content nor a reason to stop."""

    id: str
    model: str
    content: list[TextContent | ThinkingContent | ToolUseContent]
    usage: MessageUsage
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    role: Literal["assistant"] = "assistant"


class MessageStart(Struct, tag_field="type", tag="message_start"):
    message: MessageResponse


class BlockStart(Struct, tag_field="type", tag="content_block_start"):
    index: int
    content_block: TextContent | ThinkingContent | ToolUseContent


class StopDetails(Struct):
    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(Struct, tag_field="type", tag="message_delta"):
    """The end of an answer; `usage` is that of the whole of it."""

    delta: StopDetails
    usage: MessageUsage


class TokenCount(Struct):
    input_tokens: int


class ModelEntry(Struct, tag_field="type", tag="model"):
    """A model. The tokens are those of its context, while it is loaded."""

    id: str
    display_name: str
    created_at: str
    max_input_tokens: int | None
    max_tokens: int | None
    lifecycle: Literal["active"] = "active"


class ModelPage(Struct):
    data: list[ModelEntry]
    has_more: bool
    first_id: str | None
    last_id: str | None


def event(data: Struct) -> bytes:
    """One server-sent event. Clients go by its name, and pass over an event without one."""
    name = data.__struct_config__.tag
    assert isinstance(name, str)
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
