"""Builds llama-server's response to an infill request, whole or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgeinfer.inference.output import Delta, Finish
from edgeinfer.server.llama_server.indent_stop import IndentStop
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.openai.types import ProgressCounts, Timings, event
from edgeinfer.server.openai.usage import prompt_progress, timings
from edgeinfer.serving.infill import InfillReply
from edgeinfer.serving.usage import RequestUsage


class InfillChunk(Struct):
    content: str
    stop: bool = False
    prompt_progress: ProgressCounts | UnsetType = UNSET


class InfillResponse(Struct):
    """A whole answer, or the end of a streamed one. The engine's figures are absent if it was stopped early."""

    content: str
    model: str
    tokens_predicted: int
    truncated: bool
    stop_type: Literal["eos", "word", "limit"]
    stopping_word: str = ""
    stop: bool = True
    tokens_evaluated: int | UnsetType = UNSET
    tokens_cached: int | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET


class InfillBuilder:
    """Renders one reply."""

    def __init__(self, reply: InfillReply, request: InfillRequest) -> None:
        self._reply = reply
        self._fields = request.response_fields
        self._is_empty = request.token_limit() == 0
        self._indent_stop = IndentStop(request.n_indent, request.t_max_predict_ms)
        self._tokens = 0
        self._finish: Finish | None = None

    async def build(self) -> Any:
        """The whole response."""
        texts: list[str] = []
        async with aclosing(self._reply.deltas) as deltas:
            async for delta in deltas:
                texts.append(self._read(delta))
                if self._indent_stop.ended:
                    break
        return self._response("".join(texts) + self._indent_stop.flush())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events. The last one has `stop`, and no [DONE] follows it."""
        async with aclosing(self._reply.deltas) as deltas:
            async for delta in deltas:
                if delta.progress:
                    yield event(InfillChunk("", prompt_progress=prompt_progress(delta.progress)))
                    continue
                if text := self._read(delta):
                    yield event(InfillChunk(text))
                if self._indent_stop.ended:
                    break
        if text := self._indent_stop.flush():
            yield event(InfillChunk(text))
        yield event(self._response(""))

    def _read(self, delta: Delta) -> str:
        """The text that `delta` makes certain."""
        self._finish = delta.finish
        if self._is_empty:
            return ""
        self._tokens += len(delta.tokens)
        return self._indent_stop.push(delta.text)

    def _response(self, content: str) -> Any:
        reply = self._reply
        response = InfillResponse(content, reply.info.name, self._tokens, reply.truncated, "limit")
        if self._finish:
            self._complete(response, self._finish)
        return select(self._fields, msgspec.to_builtins(response)) if self._fields else response

    def _complete(self, response: InfillResponse, finish: Finish) -> None:
        """Add the engine's figures."""
        usage = RequestUsage()
        usage.add(0, msgspec.structs.replace(finish, completion_tokens=self._tokens))
        response.tokens_evaluated = finish.prompt_tokens
        response.tokens_cached = finish.cached_tokens
        response.timings = timings(usage)
        if self._is_empty or self._indent_stop.ended:
            return
        if finish.reason == "length":
            tokens = finish.prompt_tokens + finish.completion_tokens
            response.truncated |= tokens >= self._reply.info.ctx
        else:
            response.stop_type = "eos" if finish.stop is None else "word"
            response.stopping_word = finish.stop or ""


def select(fields: Sequence[str], response: Mapping[str, Any]) -> dict[str, Any]:
    """These fields of a response. `timings/prompt_ms` is a field of a field, and keeps that name."""
    selected = {}
    for field in fields:
        value: Any = response
        for key in field.split("/"):
            value = value.get(key, UNSET) if isinstance(value, Mapping) else UNSET
        if value is not UNSET:
            selected[field] = value
    return selected
