"""Writes one response, whole or as a stream of events."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from itertools import count

import msgspec

from edgeinfer.errors import ContextLengthExceeded, EdgeinferError
from edgeinfer.server.responses import events
from edgeinfer.server.responses.failures import response_error
from edgeinfer.server.responses.output import EndStatus, Output, OutputOptions
from edgeinfer.server.responses.types import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseObject,
    ResponseStatus,
    ResponseUsage,
)
from edgeinfer.serving.reply import AnswerDelta, Reply
from edgeinfer.serving.usage import RequestUsage


class ResponseWriter:
    """Writes the response whose beginning is `response`.

    Args:
        start: begins the answer.
        save: stores the finished response.
    """

    def __init__(
        self,
        response: ResponseObject,
        options: OutputOptions,
        start: Callable[[], Awaitable[Reply]],
        save: Callable[[ResponseObject], Awaitable[None]],
    ) -> None:
        self._response = response
        self._start = start
        self._save = save
        self._numbers = count()
        self._output = Output(response.id.partition("_")[2], self._numbers, options)
        self._begun = False
        self._usage: RequestUsage | None = None

    async def build(self) -> ResponseObject:
        """The whole response."""
        status: EndStatus = "completed"
        async with aclosing(self._deltas()) as deltas:
            async for delta in deltas:
                self._output.feed(delta)
                status = _end_status(delta, status)
        self._output.finish(status)
        return await self._ended(status)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events; those of one step together. The first step decides the status.

        A conversation that is too long fails inside the stream: only there do clients know the code, and shorten it.
        """
        try:
            status: EndStatus = "completed"
            async with aclosing(self._deltas()) as deltas:
                async for delta in deltas:
                    begin = self._begin()
                    if made := begin + b"".join(map(events.encode, self._output.feed(delta))):
                        yield made
                    status = _end_status(delta, status)
            yield b"".join(map(events.encode, self._output.finish(status)))
            yield self._end_event(await self._ended(status))
        except ContextLengthExceeded as e:
            yield self.error(e)

    def keep_alive(self) -> bytes:
        """An event that shows that the response goes on: idle timers of clients overlook comments."""
        return self._begin() or self._in_progress()

    def error(self, error: EdgeinferError) -> bytes:
        """The events that end a stream that has failed."""
        begin = self._begin()
        failed = self._with("failed", error=response_error(error))
        return begin + events.encode(
            events.ResponseFailed(sequence_number=next(self._numbers), response=failed)
        )

    async def _deltas(self) -> AsyncGenerator[AnswerDelta, None]:
        reply = await self._start()
        self._usage = reply.usage
        async with aclosing(reply.stream()) as deltas:
            async for delta in deltas:
                yield delta

    def _begin(self) -> bytes:
        """The events that begin the stream, the first time."""
        if self._begun:
            return b""
        self._begun = True
        created = events.ResponseCreated(sequence_number=next(self._numbers), response=self._response)
        return events.encode(created) + self._in_progress()

    def _in_progress(self) -> bytes:
        return events.encode(
            events.ResponseInProgress(sequence_number=next(self._numbers), response=self._response)
        )

    def _end_event(self, response: ResponseObject) -> bytes:
        kind = events.ResponseCompleted if response.status == "completed" else events.ResponseIncomplete
        return events.encode(kind(sequence_number=next(self._numbers), response=response))

    async def _ended(self, status: EndStatus) -> ResponseObject:
        now = int(time.time())
        response = (
            self._with(status, completed_at=now)
            if status == "completed"
            else self._with(status, incomplete_details=IncompleteDetails())
        )
        await self._save(response)
        return response

    def _with(self, status: ResponseStatus, **fields: object) -> ResponseObject:
        usage = _usage(self._usage, self._output.reasoning_tokens) if self._usage else None
        return msgspec.structs.replace(
            self._response,
            status=status,
            output=self._output.items,
            usage=None if status == "failed" else usage,
            **fields,
        )


def _end_status(delta: AnswerDelta, status: EndStatus) -> EndStatus:
    return "incomplete" if delta.finish and delta.finish.reason == "length" else status


def _usage(usage: RequestUsage, reasoning_tokens: int) -> ResponseUsage:
    return ResponseUsage(
        usage.prompt_tokens,
        InputTokensDetails(usage.cached_tokens),
        usage.completion_tokens,
        OutputTokensDetails(min(reasoning_tokens, usage.completion_tokens)),
        usage.prompt_tokens + usage.completion_tokens,
    )
