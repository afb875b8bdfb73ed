"""A whole answer, put together from its events."""

from __future__ import annotations

from collections.abc import Iterable

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning


class ParsedCall:
    """A tool call of an answer. `arguments` is JSON text."""

    def __init__(self, begin: CallBegin) -> None:
        self.id = begin.id
        self.name = begin.name
        self._arguments: list[str] = []

    def add(self, text: str) -> None:
        self._arguments.append(text)

    @property
    def arguments(self) -> str:
        return "".join(self._arguments)


class ParsedMessage:
    """The content, the thoughts and the calls of an answer."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.calls: list[ParsedCall] = []
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self.add(events)

    @property
    def content(self) -> str:
        return "".join(self._content)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Content():
                    self._content.append(event.text)
                case Reasoning():
                    self._reasoning.append(event.text)
                case CallBegin():
                    self.calls.append(ParsedCall(event))
                case CallArguments():
                    self.calls[event.index].add(event.text)


def coalesce(events: Iterable[Event]) -> list[Event]:
    """The events with neighbours of one kind joined: one step may bring many tokens."""
    joined: list[Event] = []
    for event in events:
        last = joined.pop() if joined else None
        if isinstance(last, Content) and isinstance(event, Content):
            joined.append(Content(last.text + event.text))
        elif isinstance(last, Reasoning) and isinstance(event, Reasoning):
            joined.append(Reasoning(last.text + event.text))
        elif isinstance(last, CallArguments) and isinstance(event, CallArguments):
            assert last.index == event.index  # another call's arguments follow its name
            joined.append(CallArguments(event.index, last.text + event.text))
        else:
            joined += [last, event] if last else [event]
    return joined
