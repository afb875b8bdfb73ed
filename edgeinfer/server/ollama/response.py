"""Builds Ollama's response to a request, whole or as lines of JSON. Chat and generate differ in their parts."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET

from edgeinfer.chat.events import Content, Event, Reasoning
from edgeinfer.server.ollama.call_buffer import CallBuffer
from edgeinfer.server.ollama.logprobs import ollama_logprobs
from edgeinfer.server.ollama.times import nanoseconds
from edgeinfer.server.ollama.types import GenerationMetrics, OllamaToolCall
from edgeinfer.serving.reply import AnswerDelta, AnswerFinish, CompleteAnswer, Reply

_encoder = msgspec.json.Encoder()


class OllamaResponseBuilder(ABC):
    """Renders one reply. Subclasses render the parts of its answer."""

    def __init__(
        self, model: str, reply: Reply, *, began: float, loaded: float, ended: Callable[[], None]
    ) -> None:
        """`model` is the name that the request used; `began` and `loaded` are times by the monotonic clock.

        `ended` is called at the end of the answer, or where it is cut.
        """
        self._model = model
        self._reply = reply
        self._on_end = ended
        self._began = began
        self._loaded = loaded

    @abstractmethod
    def part(
        self,
        content: str = "",
        thinking: str = "",
        calls: Sequence[OllamaToolCall] = (),
        *,
        done: bool = False,
    ) -> GenerationMetrics:
        """A chunk with a part of the answer, or with all of it."""

    async def build(self) -> Any:
        """The whole response."""
        try:
            (answer,) = await self._reply.collect()
        finally:
            self._on_end()
        message = answer.message
        response = self.part(message.content, message.reasoning, _whole_calls(answer), done=True)
        if answer.logprobs:
            response.logprobs = ollama_logprobs(answer.logprobs)
        return self._ended(response, answer.finish)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Lines of JSON; those of one step together. A call has a line of its own, before the last."""
        buffer = CallBuffer()
        try:
            async with aclosing(self._reply.stream()) as deltas:
                async for delta in deltas:
                    if chunks := self._chunks(delta, buffer):
                        yield b"".join([_encoder.encode(chunk) + b"\n" for chunk in chunks])
        finally:
            self._on_end()

    def _chunks(self, delta: AnswerDelta, buffer: CallBuffer) -> list[GenerationMetrics]:
        chunks = [chunk for event in delta.events if (chunk := self._chunk(event, buffer))]
        if delta.finish and (call := buffer.end()):
            chunks.append(self.part(calls=[call]))
        if delta.logprobs:
            chunks = chunks or [self.part()]
            chunks[-1].logprobs = ollama_logprobs(delta.logprobs)
        if delta.finish:
            chunks.append(self._ended(self.part(done=True), delta.finish))
        return chunks

    def _chunk(self, event: Event, buffer: CallBuffer) -> GenerationMetrics | None:
        """What one event adds to the stream. A call is added when the next one begins, or the answer ends."""
        match event:
            case Content():
                return self.part(event.text)
            case Reasoning():
                return self.part(thinking=event.text)
        call = buffer.add(event)
        return self.part(calls=[call]) if call else None

    def _ended(self, response: GenerationMetrics, finish: AnswerFinish) -> Any:
        """The last part of an answer, with what it cost."""
        usage, now = self._reply.usage, time.monotonic()
        response.done_reason = "length" if finish.reason == "length" else "stop"
        response.total_duration = nanoseconds(now - self._began)
        response.load_duration = nanoseconds(self._loaded - self._began)
        response.prompt_eval_count = usage.prompt_tokens
        response.prompt_eval_duration = nanoseconds(usage.prompt_ms / 1e3)
        response.eval_count = usage.completion_tokens
        response.eval_duration = nanoseconds(usage.predicted_ms / 1e3)
        return response


def _whole_calls(answer: CompleteAnswer) -> list[OllamaToolCall]:
    buffer = CallBuffer()
    calls = [buffer.whole(call.id, call.name, call.arguments) for call in answer.message.calls]
    return [call for call in calls if call]


def or_unset(value: Any) -> Any:
    """The value; an empty one is left out."""
    return value or UNSET
