"""Turns the events of an answer into the items of a response, and the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning
from edgeinfer.server.openai.logprobs import chat_logprobs
from edgeinfer.server.responses.events import ResponseEvent
from edgeinfer.server.responses.open_items import (
    OpenCall,
    OpenCustomCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
    OpenSummary,
)
from edgeinfer.server.responses.toolset import ToolOrigin
from edgeinfer.server.responses.types import OutputItem
from edgeinfer.serving.reply import AnswerDelta

EndStatus = Literal["completed", "incomplete"]


class OutputOptions(msgspec.Struct, frozen=True):
    """How items are written.

    Attributes:
        origins: what each tool is in the request, by the name that the model knows.
        summarizes: thoughts are a summary.
        packs_thoughts: thoughts are also in a form that clients send back.
    """

    origins: Mapping[str, ToolOrigin] = {}
    summarizes: bool = False
    packs_thoughts: bool = False


class Output:
    """The items of one response. Only the last one is open.

    Attributes:
        items: those that have ended.
        reasoning_tokens: tokens up to the last of the thoughts, without the tag that ends them.
    """

    def __init__(self, suffix: str, numbers: Iterator[int], options: OutputOptions) -> None:
        """`suffix`: the response's id without its prefix; its items' ids derive from it."""
        self.items: list[OutputItem] = []
        self.reasoning_tokens = 0
        self._suffix = suffix
        self._numbers = numbers
        self._options = options
        self._open: OpenItem | None = None
        self._answers = False
        self._tokens = 0

    def feed(self, delta: AnswerDelta) -> list[ResponseEvent]:
        """The events of a step."""
        self._count(delta)
        made: list[ResponseEvent] = []
        for event in delta.events:
            made += self._feed(event)
        if delta.logprobs and isinstance(self._open, OpenMessage):
            logprobs: list[Any] = chat_logprobs(delta.logprobs).content
            self._open.add_logprobs(made[-1] if made else None, logprobs)
        return made

    def finish(self, status: EndStatus) -> list[ResponseEvent]:
        """The events that end the last item. A complete answer without text or calls has an empty text."""
        made: list[ResponseEvent] = []
        if status == "completed" and not self._answers:
            made += self._begin(OpenMessage)
        return [*made, *self._end(status)]

    def _feed(self, event: Event) -> list[ResponseEvent]:
        match event:
            case Reasoning():
                return self._write(OpenSummary if self._options.summarizes else OpenReasoning, event.text)
            case Content():
                return self._write(OpenMessage, event.text)
            case CallBegin():
                return self._begin_call(event)
            case CallArguments():
                assert self._open
                return _present(self._open.add(event.text))

    def _write(self, kind: type[OpenItem], text: str) -> list[ResponseEvent]:
        begun = [] if type(self._open) is kind else self._begin(kind)
        assert self._open
        return [*begun, *_present(self._open.add(text))]

    def _begin(self, kind: type[OpenItem]) -> list[ResponseEvent]:
        ended = self._end("completed")
        index = len(self.items)
        if issubclass(kind, OpenReasoning):
            packs = self._options.packs_thoughts
            self._open = kind(self._id("rs", index), index, self._numbers, packs=packs)
        else:
            self._open = kind(self._id("msg", index), index, self._numbers)
        return [*ended, *self._open.opening()]

    def _begin_call(self, begin: CallBegin) -> list[ResponseEvent]:
        ended = self._end("completed")
        index = len(self.items)
        origin = self._options.origins[begin.name]
        kind, prefix = (OpenCustomCall, "ctc") if origin.is_custom else (OpenCall, "fc")
        self._open = kind(self._id(prefix, index), index, self._numbers, call_id=begin.id, origin=origin)
        return [*ended, *self._open.opening()]

    def _end(self, status: EndStatus) -> list[ResponseEvent]:
        if self._open is None:
            return []
        made = self._open.closing(status)
        self.items.append(self._open.item(status))
        self._open = None
        return made

    def _id(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self._suffix}{index:02}"

    def _count(self, delta: AnswerDelta) -> None:
        if self._answers:
            return
        self._tokens += len(delta.tokens)
        if any(isinstance(event, Reasoning) for event in delta.events):
            self.reasoning_tokens = self._tokens
        self._answers = any(not isinstance(event, Reasoning) for event in delta.events)


def _present(event: ResponseEvent | None) -> list[ResponseEvent]:
    return [event] if event else []
