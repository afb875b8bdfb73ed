"""Builds OpenAI's response to a request, whole or as a stream. Chat and completions differ in their choices."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import ClassVar, Literal

from edgeinfer.inference.output import PromptProgress
from edgeinfer.server.openai.types import DONE, Choice, Completion, event
from edgeinfer.server.openai.usage import completion_usage, prompt_progress, timings
from edgeinfer.serving.reply import AnswerDelta, CompleteAnswer, Reply

Kind = Literal["chat.completion", "chat.completion.chunk", "text_completion"]


class ResponseBuilder(ABC):
    """Renders one reply. Subclasses render its choices."""

    id_prefix: ClassVar[str]
    kind: ClassVar[Kind]
    chunk_kind: ClassVar[Kind]

    def __init__(self, reply: Reply, *, include_usage: bool) -> None:
        """`include_usage`: a stream ends with a chunk that has the usage."""
        self._reply = reply
        self._include_usage = include_usage
        self._id = f"{self.id_prefix}-{uuid.uuid4().hex}"
        self._created = int(time.time())

    @abstractmethod
    def choice(self, index: int, answer: CompleteAnswer) -> Choice:
        """A whole choice."""

    @abstractmethod
    def opening(self, index: int) -> list[Choice]:
        """The choices of the chunks with which a choice begins."""

    @abstractmethod
    def deltas(self, delta: AnswerDelta) -> list[Choice]:
        """The choices of the chunks for `delta`; the last of them has the `finish_reason`, if any."""

    @abstractmethod
    def empty(self, index: int) -> Choice:
        """A choice of a chunk that adds nothing to the answer."""

    async def build(self) -> Completion[Choice]:
        """The whole response."""
        answers = await self._reply.collect()
        choices = [self.choice(index, answer) for index, answer in enumerate(answers)]
        return self._with_usage(self._completion(self.kind, choices))

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events; those of one step together.

        All choices begin at once, in their order: OpenAI's client numbers those it has not seen by their arrival.
        """
        count = left = self._reply.count
        begun = False
        async with aclosing(self._reply.stream()) as deltas:
            async for delta in deltas:
                if delta.progress:
                    yield self._progress(delta.index, delta.progress)
                    continue
                left -= delta.finish is not None
                choices = [] if begun else [choice for n in range(count) for choice in self.opening(n)]
                begun = True
                if choices := choices + self.deltas(delta):
                    yield self._events(choices, last=not left)
        if self._include_usage:
            yield event(self._with_usage(self._completion(self.chunk_kind, [])))
        yield DONE

    def _progress(self, index: int, progress: PromptProgress) -> bytes:
        chunk = self._completion(self.chunk_kind, [self.empty(index)])
        chunk.prompt_progress = prompt_progress(progress)
        return event(chunk)

    def _events(self, choices: Sequence[Choice], last: bool) -> bytes:
        chunks = [self._completion(self.chunk_kind, [choice]) for choice in choices]
        if self._include_usage:
            for chunk in chunks:
                chunk.usage = None
        elif last:
            chunks[-1].timings = timings(self._reply.usage)
        return b"".join(map(event, chunks))

    def _completion(self, kind: Kind, choices: list[Choice]) -> Completion[Choice]:
        return Completion(self._id, kind, self._created, self._reply.info.name, choices)

    def _with_usage(self, completion: Completion[Choice]) -> Completion[Choice]:
        usage = self._reply.usage
        completion.usage, completion.timings = completion_usage(usage), timings(usage)
        return completion
