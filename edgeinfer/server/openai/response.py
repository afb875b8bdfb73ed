"""From the deltas of one request to OpenAI's answer, whole or in chunks. Chat and text differ in the pieces."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import ClassVar, Literal

from edgeinfer.inference.output import ChosenLogprob, Delta, Finish
from edgeinfer.server.openai.schemas.sampling import SamplingFields
from edgeinfer.server.openai.types import DONE, Choice, Completion, event
from edgeinfer.server.openai.usage import Accounting
from edgeinfer.serving.merge import Deltas

Kind = Literal["chat.completion", "chat.completion.chunk", "text_completion"]


class Answer(ABC):
    """Subclasses say what a choice and a piece of one look like."""

    id_prefix: ClassVar[str]
    whole_kind: ClassVar[Kind]
    chunk_kind: ClassVar[Kind]

    def __init__(self, asked: SamplingFields, model: str, prompts: int = 1) -> None:
        self._include_usage = asked.include_usage
        self._model = model
        self._id = f"{self.id_prefix}-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._accounting = Accounting(prompts, asked.n)
        self._choices = prompts * asked.n
        self._begun: set[int] = set()
        self._texts: list[list[str]] = [[] for _ in range(self._choices)]
        self._finishes: dict[int, Finish] = {}
        self._logprobs: list[list[ChosenLogprob]] = [[] for _ in range(self._choices)]

    @abstractmethod
    def choice(self, index: int, text: str, finish: Finish) -> Choice:
        """A whole choice."""

    @abstractmethod
    async def check(self, text: str) -> None:
        """Raises SchemaViolation if a complete text breaks a rule that its grammar could not enforce."""

    @abstractmethod
    def pieces(self, delta: Delta, first: bool) -> list[Choice]:
        """What `delta` adds to its choice, one event each; the last one has the `finish_reason`, if any."""

    async def whole(self, deltas: Deltas) -> Completion[Choice]:
        async with aclosing(deltas):
            async for delta in deltas:
                self._note(delta)
                await self._check(delta)
        choices = [self.choice(i, self._text(i), self._finishes[i]) for i in range(self._choices)]
        found = self._completion(self.whole_kind, choices)
        found.usage, found.timings = self._accounting.usage(), self._accounting.timings()
        return found

    async def chunks(self, deltas: Deltas) -> AsyncGenerator[bytes, None]:
        """Server-sent events as bytes; those of one delta together."""
        left = self._choices
        async with aclosing(deltas):
            async for delta in deltas:
                first = self._note(delta)
                await self._check(delta)
                left -= delta.finish is not None
                if pieces := self.pieces(delta, first):
                    yield self._events(pieces, last=not left)
        if self._include_usage:
            yield self._usage_event()
        yield DONE

    def take_logprobs(self, index: int) -> list[ChosenLogprob] | None:
        """Those not sent yet. Tokens may come before the text that they complete."""
        taken, self._logprobs[index] = self._logprobs[index], []
        return taken or None

    def _note(self, delta: Delta) -> bool:
        """Keep account of `delta`; -> whether it is the first of its choice."""
        if delta.logprobs:
            self._logprobs[delta.index] += delta.logprobs
        self._texts[delta.index].append(delta.text)
        if delta.finish:
            self._finishes[delta.index] = delta.finish
            self._accounting.add(delta.index, delta.finish)
        first = delta.index not in self._begun
        self._begun.add(delta.index)
        return first

    def _text(self, index: int) -> str:
        return "".join(self._texts[index])

    async def _check(self, delta: Delta) -> None:
        """An answer that was cut is not held to be complete."""
        if delta.finish and delta.finish.reason == "stop" and delta.finish.stop is None:
            await self.check(self._text(delta.index))

    def _events(self, pieces: Sequence[Choice], last: bool) -> bytes:
        chunks = [self._completion(self.chunk_kind, [piece]) for piece in pieces]
        if self._include_usage:
            for chunk in chunks:
                chunk.usage = None
        elif last:
            chunks[-1].timings = self._accounting.timings()
        return b"".join(map(event, chunks))

    def _usage_event(self) -> bytes:
        chunk = self._completion(self.chunk_kind, [])
        chunk.usage, chunk.timings = self._accounting.usage(), self._accounting.timings()
        return event(chunk)

    def _completion(self, kind: Kind, choices: list[Choice]) -> Completion[Choice]:
        return Completion(self._id, kind, self._created, self._model, choices)
