"""What an answer's text says, thinks and calls, in OpenAI's pieces."""

from __future__ import annotations

from collections.abc import Iterable

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning
from edgeinfer.server.openai.types import ChatDelta, Function, ToolCallDelta


class Call:
    def __init__(self, begin: CallBegin) -> None:
        self.id = begin.id
        self.name = begin.name
        self.arguments = ""


class ParsedMessage:
    """A whole answer."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.content = ""
        self.reasoning = ""
        self.calls: list[Call] = []
        for event in events:
            match event:
                case Content():
                    self.content += event.text
                case Reasoning():
                    self.reasoning += event.text
                case CallBegin():
                    self.calls.append(Call(event))
                case CallArguments():
                    self.calls[event.index].arguments += event.text


def chat_delta(event: Event) -> ChatDelta:
    """What a chunk says of an event."""
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


def coalesce(events: Iterable[Event]) -> list[Event]:
    """Neighbours of one kind as one: a step may bring many tokens."""
    found: list[Event] = []
    for event in events:
        last = found.pop() if found else None
        if isinstance(last, Content) and isinstance(event, Content):
            found.append(Content(last.text + event.text))
        elif isinstance(last, Reasoning) and isinstance(event, Reasoning):
            found.append(Reasoning(last.text + event.text))
        elif isinstance(last, CallArguments) and isinstance(event, CallArguments):
            assert last.index == event.index  # another call's arguments follow upon its name
            found.append(CallArguments(event.index, last.text + event.text))
        else:
            found += [last, event] if last else [event]
    return found
