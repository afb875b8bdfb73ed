"""Builds llama-server's response to a completion request, whole or as a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgeinfer.chat.events import Content
from edgeinfer.inference.output import ChosenLogprob, Finish, Logprob
from edgeinfer.server.llama_server.generation_settings import GenerationSettings, generation_settings
from edgeinfer.server.llama_server.indent_stop import IndentStop
from edgeinfer.server.llama_server.infill_response import select
from edgeinfer.server.llama_server.schemas.completion import LlamaCompletionRequest
from edgeinfer.server.openai.logprobs import readable
from edgeinfer.server.openai.types import ProgressCounts, Timings, event
from edgeinfer.server.openai.usage import prompt_progress, timings
from edgeinfer.serving.completion import CompletionReply
from edgeinfer.serving.reply import AnswerDelta
from edgeinfer.serving.usage import RequestUsage

NO_SLOT = -1
"""An answer has no slot of its own: it may get another one while it is generated."""


class TokenProbability(Struct):
    id: int
    token: str
    bytes: list[int]
    logprob: float


class TokenProbabilities(TokenProbability):
    """A token that was generated, and the most likely ones in its place."""

    top_logprobs: list[TokenProbability]


class LlamaCompletionChunk(Struct):
    """What one step adds to an answer."""

    index: int
    content: str
    tokens: Sequence[int]
    stop: bool
    id_slot: int
    tokens_predicted: int
    tokens_evaluated: int
    completion_probabilities: Sequence[Any] | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
    prompt_progress: ProgressCounts | UnsetType = UNSET


class LlamaCompletion(Struct):
    """A whole answer, or the end of a streamed one."""

    index: int
    content: str
    tokens: Sequence[int]
    id_slot: int
    stop: bool
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    generation_settings: GenerationSettings
    prompt: str
    has_new_line: bool
    truncated: bool
    stop_type: Literal["eos", "word", "limit"]
    stopping_word: str
    tokens_cached: int
    timings: Timings
    completion_probabilities: Sequence[Any] | UnsetType = UNSET


class _AnswerState:
    """What is known of one answer so far."""

    def __init__(self, request: LlamaCompletionRequest) -> None:
        self.indent_stop = IndentStop(request.n_indent, request.t_max_predict_ms)
        self.num_tokens = 0
        self.has_new_line = False
        self.usage = Finish("length", 0, 0, 0)
        self.began = 0.0

    def read(self, delta: AnswerDelta) -> str:
        """The text that `delta` makes certain."""
        if delta.start:
            self.began = time.monotonic()
            start = delta.start
            self.usage = Finish(
                "length", start.prompt_tokens, start.cached_tokens, 0, None, start.queue_ms, start.prompt_ms
            )
        self.num_tokens += len(delta.tokens)
        text = self.indent_stop.push("".join(e.text for e in delta.events if isinstance(e, Content)))
        if delta.finish:
            text += self.indent_stop.flush()
        self.has_new_line = self.has_new_line or "\n" in text
        return text

    def figures(self) -> Finish:
        """Its counts and times up to now."""
        ms = (time.monotonic() - self.began) * 1e3 if self.began else 0.0
        return msgspec.structs.replace(self.usage, completion_tokens=self.num_tokens, predicted_ms=ms)


class CompletionBuilder:
    """Renders one reply."""

    def __init__(self, reply: CompletionReply, request: LlamaCompletionRequest) -> None:
        self._reply = reply
        self._request = request
        self._n = reply.count // len(reply.echoes)
        self._states = [_AnswerState(request) for _ in range(reply.count)]

    async def build(self) -> Any:
        """The whole response: an object for one answer, a list for several."""
        contents: list[list[str]] = [[] for _ in self._states]
        tokens: list[list[int]] = [[] for _ in self._states]
        probabilities: list[list[Any]] = [[] for _ in self._states]
        answers: dict[int, Any] = {}
        async with aclosing(self._reply.stream()) as deltas:
            async for delta in deltas:
                index, state = delta.index, self._states[delta.index]
                if index in answers:
                    continue
                contents[index].append(state.read(delta))
                if self._request.return_tokens:
                    tokens[index] += delta.tokens
                probabilities[index] += _probabilities(delta.logprobs)
                if delta.finish or state.indent_stop.ended:
                    response = self._response(delta, "".join(contents[index]), tokens[index])
                    if self._request.n_probs:
                        response.completion_probabilities = probabilities[index]
                    answers[index] = self._selected(response)
                if len(answers) == len(self._states):
                    break
        found = [answers[index] for index in range(len(self._states))]
        return found[0] if len(found) == 1 else found

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events. The last one of each answer has `stop`, and no [DONE] follows."""
        ended: set[int] = set()
        async with aclosing(self._reply.stream()) as deltas:
            async for delta in deltas:
                state = self._states[delta.index]
                if delta.index in ended:
                    continue
                text = state.read(delta)
                if delta.progress or (not self._request.is_empty and (text or delta.tokens)):
                    yield event(self._chunk(delta, text))
                if delta.finish or state.indent_stop.ended:
                    ended.add(delta.index)
                    yield event(self._selected(self._response(delta, "", [])))
                if len(ended) == len(self._states):
                    break

    def _chunk(self, delta: AnswerDelta, text: str) -> LlamaCompletionChunk:
        state = self._states[delta.index]
        prompt_tokens = state.usage.prompt_tokens
        chunk = LlamaCompletionChunk(
            delta.index, text, delta.tokens, False, NO_SLOT, state.num_tokens, prompt_tokens
        )
        if delta.progress:
            chunk.tokens_evaluated = delta.progress.total
            chunk.prompt_progress = prompt_progress(delta.progress)
        if delta.logprobs:
            chunk.completion_probabilities = _probabilities(delta.logprobs)
        if self._request.timings_per_token:
            chunk.timings = _timings(state.figures())
        return chunk

    def _response(self, delta: AnswerDelta, content: str, tokens: list[int]) -> LlamaCompletion:
        index, state, request = delta.index, self._states[delta.index], self._request
        figures = self._reply.usage.of(index) if delta.finish else state.figures()
        if request.is_empty:
            content, tokens = "", []
            figures = msgspec.structs.replace(figures, reason="length", completion_tokens=0)
        ended_by_line = state.indent_stop.ended
        full = figures.prompt_tokens + figures.completion_tokens >= self._reply.info.ctx
        settings = generation_settings(self._reply.params, stream=request.stream)
        settings.grammar, settings.timings_per_token = request.grammar or "", request.timings_per_token
        if request.is_empty:
            settings.n_predict = settings.max_tokens = 0
        return LlamaCompletion(
            index=index,
            content=content,
            tokens=tokens,
            id_slot=NO_SLOT,
            stop=True,
            model=self._reply.info.name,
            tokens_predicted=figures.completion_tokens,
            tokens_evaluated=figures.prompt_tokens,
            generation_settings=settings,
            prompt=self._reply.echoes[index // self._n],
            has_new_line=state.has_new_line,
            truncated=figures.reason == "length" and not ended_by_line and full,
            stop_type=_stop_type(figures, ended_by_line=ended_by_line),
            stopping_word="" if ended_by_line else figures.stop or "",
            tokens_cached=figures.cached_tokens,
            timings=_timings(figures),
        )

    def _selected(self, response: LlamaCompletion) -> Any:
        fields = self._request.response_fields
        return select(fields, msgspec.to_builtins(response)) if fields else response


def _stop_type(figures: Finish, *, ended_by_line: bool) -> Literal["eos", "word", "limit"]:
    if figures.reason == "length" or ended_by_line:
        return "limit"
    return "eos" if figures.stop is None else "word"


def _timings(figures: Finish) -> Timings:
    usage = RequestUsage()
    usage.add(0, figures)
    return timings(usage)


def _probabilities(logprobs: Sequence[ChosenLogprob] | None) -> list[Any]:
    """As JSON, token by token: the structs of a long answer would take several times as much memory."""
    return [msgspec.Raw(msgspec.json.encode(_token(entry))) for entry in logprobs or ()]


def _token(entry: ChosenLogprob) -> TokenProbabilities:
    chosen = _candidate(entry.chosen)
    top = [_candidate(candidate) for candidate in entry.top]
    return TokenProbabilities(chosen.id, chosen.token, chosen.bytes, chosen.logprob, top)


def _candidate(candidate: Logprob) -> TokenProbability:
    return TokenProbability(
        candidate.token, readable(candidate.piece), list(candidate.piece), candidate.logprob
    )
