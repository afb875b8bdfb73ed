"""The parts of an answer as chunks of OpenAI's stream."""

from __future__ import annotations

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning
from edgeinfer.server.openai.types import ChatDelta, Function, ToolCallDelta


def chat_delta(event: Event) -> ChatDelta:
    """The delta of a chunk for one event."""
    match event:
        case Content():
            return ChatDelta(content=event.text)
        case Reasoning():
            return ChatDelta(reasoning_content=event.text)
        case CallBegin():
            call = ToolCallDelta(event.index, Function("", event.name), event.id, "function")
        case CallArguments():
            call = ToolCallDelta(event.index, Function(event.text))
    return ChatDelta(tool_calls=[call])
