"""From the deltas of one hole to llama-server's answer, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgeinfer.inference.output import Finish
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.llama_server.indent_stop import IndentStop
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.openai.types import Timings, event
from edgeinfer.server.openai.usage import Accounting
from edgeinfer.serving.merge import Deltas


class InfillChunk(Struct):
    content: str
    stop: bool = False


class InfillResponse(Struct):
    """The end of an answer. What only the engine knows is left out where the answer was ended before it did."""

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
    """One answer. `cut`: not all that was given stands in the prompt."""

    def __init__(self, asked: InfillRequest, info: ModelInfo, cut: bool) -> None:
        self._info = info
        self._cut = cut
        self._fields = asked.response_fields
        self._empty = asked.limit() == 0
        self._lines = IndentStop(asked.n_indent, asked.t_max_predict_ms)
        self._tokens = 0
        self._finish: Finish | None = None

    async def whole(self, deltas: Deltas) -> Any:
        async with aclosing(self._texts(deltas)) as texts:
            content = "".join([text async for text in texts])
        return self._filled(content)

    async def chunks(self, deltas: Deltas) -> AsyncGenerator[bytes, None]:
        """Server-sent events as bytes. The last one has `stop`, and comes without a [DONE] after it."""
        async with aclosing(self._texts(deltas)) as texts:
            async for text in texts:
                if text:
                    yield event(InfillChunk(text))
        yield event(self._filled(""))

    async def _texts(self, deltas: Deltas) -> AsyncGenerator[str, None]:
        async with aclosing(deltas):
            async for delta in deltas:
                self._finish = delta.finish
                if self._empty:
                    continue
                self._tokens += len(delta.tokens)
                yield self._lines.push(delta.text)
                if self._lines.ended:
                    return
            yield self._lines.flush()

    def _filled(self, content: str) -> Any:
        finish = self._finish
        found = InfillResponse(content, self._info.name, self._tokens, self._cut, "limit")
        if finish:
            self._account(found, finish)
        return chosen(self._fields, msgspec.to_builtins(found)) if self._fields else found

    def _account(self, found: InfillResponse, finish: Finish) -> None:
        shown = msgspec.structs.replace(finish, completion_tokens=self._tokens)
        accounting = Accounting(1, 1)
        accounting.add(0, shown)
        found.tokens_evaluated = finish.prompt_tokens
        found.tokens_cached = finish.cached_tokens
        found.timings = accounting.timings()
        if self._empty or self._lines.ended:
            return
        if finish.reason == "length":
            found.truncated |= finish.prompt_tokens + finish.completion_tokens >= self._info.ctx
        else:
            found.stop_type = "eos" if finish.stop is None else "word"
            found.stopping_word = finish.stop or ""


def chosen(fields: Sequence[str], answer: Mapping[str, Any]) -> dict[str, Any]:
    """These fields of an answer. `timings/prompt_ms` is one inside another, and keeps that name."""
    found = {}
    for field in fields:
        value: Any = answer
        for key in field.split("/"):
            value = value.get(key, UNSET) if isinstance(value, Mapping) else UNSET
        if value is not UNSET:
            found[field] = value
    return found
