"""The item of a response that is being written, as the events of its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from edgeinfer.server.responses import events
from edgeinfer.server.responses.events import ResponseEvent
from edgeinfer.server.responses.partial_json import text_argument
from edgeinfer.server.responses.thoughts import pack
from edgeinfer.server.responses.toolset import INPUT, ToolOrigin
from edgeinfer.server.responses.types import (
    CustomToolCallOutput,
    FunctionCallOutput,
    ItemStatus,
    MessageOutput,
    OutputItem,
    OutputText,
    ReasoningOutput,
    ReasoningText,
    SummaryText,
)


class OpenItem(ABC):
    """Collects the text of one item. Events get their numbers from `numbers` as they are made."""

    def __init__(self, id: str, index: int, numbers: Iterator[int]) -> None:
        self.id = id
        self.index = index
        self._numbers = numbers
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @abstractmethod
    def item(self, status: ItemStatus) -> OutputItem:
        """The item with the text so far."""

    def opening(self) -> list[ResponseEvent]:
        """The events that begin the item."""
        return [events.ItemAdded(item=self.item("in_progress"), **self._place())]

    def add(self, text: str) -> ResponseEvent | None:
        """The event for more text, if there is one."""
        self._texts.append(text)
        return self._delta(text)

    def closing(self, status: ItemStatus) -> list[ResponseEvent]:
        """The events that end the item."""
        return [*self._done(), events.ItemDone(item=self.item(status), **self._place())]

    @abstractmethod
    def _delta(self, text: str) -> ResponseEvent | None: ...

    @abstractmethod
    def _done(self) -> list[ResponseEvent]:
        """The events that say its whole text."""

    def _place(self) -> dict[str, int]:
        return {"sequence_number": next(self._numbers), "output_index": self.index}

    def _named(self) -> dict[str, Any]:
        return {"item_id": self.id, **self._place()}


class OpenMessage(OpenItem):
    """A message with one text."""

    def __init__(self, id: str, index: int, numbers: Iterator[int]) -> None:
        super().__init__(id, index, numbers)
        self._logprobs: list[Any] = []

    def item(self, status: ItemStatus) -> MessageOutput:
        content = [] if status == "in_progress" else [self._part()]
        return MessageOutput(self.id, status, content)

    def opening(self) -> list[ResponseEvent]:
        return [*super().opening(), events.PartAdded(part=OutputText(""), **self._named())]

    def add_logprobs(self, delta: ResponseEvent | None, logprobs: list[Any]) -> None:
        """Give the last delta its log-probabilities."""
        self._logprobs += logprobs
        if isinstance(delta, events.OutputTextDelta):
            delta.logprobs = logprobs

    def _delta(self, text: str) -> ResponseEvent:
        return events.OutputTextDelta(
            sequence_number=next(self._numbers), output_index=self.index, item_id=self.id, delta=text
        )

    def _done(self) -> list[ResponseEvent]:
        part = self._part()
        return [
            events.OutputTextDone(text=part.text, logprobs=self._logprobs, **self._named()),
            events.PartDone(part=part, **self._named()),
        ]

    def _part(self) -> OutputText:
        return OutputText(self.text, logprobs=self._logprobs)


class OpenReasoning(OpenItem):
    """Thoughts as text. `packs`: the finished item has them as `encrypted_content` too."""

    def __init__(self, id: str, index: int, numbers: Iterator[int], *, packs: bool) -> None:
        super().__init__(id, index, numbers)
        self._packs = packs

    def item(self, status: ItemStatus) -> ReasoningOutput:
        if status == "in_progress":
            return ReasoningOutput(self.id, status, [])
        return ReasoningOutput(
            self.id, status, [], [ReasoningText(self.text)], encrypted_content=self._packed()
        )

    def opening(self) -> list[ResponseEvent]:
        return [*super().opening(), events.PartAdded(part=ReasoningText(""), **self._named())]

    def _packed(self) -> Any:
        return pack(self.text) if self._packs else UNSET

    def _delta(self, text: str) -> ResponseEvent:
        return events.ReasoningTextDelta(delta=text, **self._named())

    def _done(self) -> list[ResponseEvent]:
        return [
            events.ReasoningTextDone(text=self.text, **self._named()),
            events.PartDone(part=ReasoningText(self.text), **self._named()),
        ]


class OpenSummary(OpenReasoning):
    """Thoughts as a summary, for clients that show only that. It is all of them."""

    def item(self, status: ItemStatus) -> ReasoningOutput:
        if status == "in_progress":
            return ReasoningOutput(self.id, status, [])
        return ReasoningOutput(self.id, status, [SummaryText(self.text)], encrypted_content=self._packed())

    def opening(self) -> list[ResponseEvent]:
        added = events.ItemAdded(item=self.item("in_progress"), **self._place())
        return [added, events.SummaryPartAdded(part=SummaryText(""), **self._named())]

    def _delta(self, text: str) -> ResponseEvent:
        return events.SummaryTextDelta(delta=text, **self._named())

    def _done(self) -> list[ResponseEvent]:
        return [
            events.SummaryTextDone(text=self.text, **self._named()),
            events.SummaryPartDone(part=SummaryText(self.text), **self._named()),
        ]


class OpenCall(OpenItem):
    """A call of a function."""

    def __init__(
        self, id: str, index: int, numbers: Iterator[int], *, call_id: str, origin: ToolOrigin
    ) -> None:
        super().__init__(id, index, numbers)
        self._call_id = call_id
        self._origin = origin

    def item(self, status: ItemStatus) -> FunctionCallOutput:
        name, namespace = self._origin.name, self._origin.namespace or UNSET
        return FunctionCallOutput(self.id, self._call_id, name, self.text, status, namespace)

    def _delta(self, text: str) -> ResponseEvent:
        return events.ArgumentsDelta(delta=text, **self._named())

    def _done(self) -> list[ResponseEvent]:
        name = self._origin.name
        return [events.ArgumentsDone(name=name, arguments=self.text, **self._named())]


class OpenCustomCall(OpenCall):
    """A call of a custom tool. The model writes its text as an argument, which is read once it is whole."""

    def item(self, status: ItemStatus) -> Any:
        name, namespace = self._origin.name, self._origin.namespace or UNSET
        text = "" if status == "in_progress" else self._input()
        return CustomToolCallOutput(self.id, self._call_id, name, text, status, namespace)

    def _input(self) -> str:
        return text_argument(self.text, INPUT)

    def add(self, text: str) -> None:
        self._texts.append(text)

    def _done(self) -> list[ResponseEvent]:
        text = self._input()
        delta = [events.CustomInputDelta(delta=text, **self._named())] if text else []
        return [*delta, events.CustomInputDone(input=text, **self._named())]
