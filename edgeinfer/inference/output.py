"""The output of an engine's step. Plain data: the daemon imports this, and it never loads numpy."""

from __future__ import annotations

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length"]


class Logprob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A candidate token, its bytes (not always valid UTF-8 on their own) and its log-probability."""

    token: int
    piece: bytes
    logprob: float


class ChosenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The token that was produced, and the most likely candidates for its position, best first."""

    chosen: Logprob
    top: list[Logprob]


class Finish(msgspec.Struct, frozen=True):
    """The end of one answer: its reason, token counts and times.

    Attributes:
        cached_tokens: tokens of the prompt that were already in the KV cache.
        stop: the stop text that was met; None with reason "stop" means an end token or the end of a grammar.
        queue_ms, prompt_ms, predicted_ms: time spent waiting, reading the prompt, and writing the answer.
        drafted_tokens, accepted_tokens: guessed tokens that were computed, and those of them that were right.
        models: descriptions of the model files that have written the answer, where they were several, in order.
    """

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    stop: str | None = None
    queue_ms: float = 0.0
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    models: tuple[str, ...] = ()


class StartTimings(msgspec.Struct, frozen=True, array_like=True):
    """An answer's time in the queue and on its prompt, the prompt tokens it found in the KV cache, and all of them."""

    queue_ms: float
    prompt_ms: float
    cached_tokens: int
    prompt_tokens: int = 0


class PromptProgress(msgspec.Struct, frozen=True, array_like=True):
    """How much of a prompt has been computed.

    Attributes:
        total: tokens of the prompt.
        cached: those that were already in the KV cache.
        computed: those in the cache now, including the cached ones.
        ms: time since its computation began.
    """

    total: int
    cached: int
    computed: int
    ms: float


class HeldState(msgspec.Struct, frozen=True, array_like=True):
    """State of an unfinished answer that its tokens alone do not determine. An engine needs it to resume.

    Attributes:
        forced_tokens: tokens that must come next, regardless of the logits.
        is_closing: the answer is complete after the last forced token.
        next_close_check: number of tokens left at which to check again that the answer can still be completed.
        logprobs: entries of the last tokens, whose text is held back.
    """

    forced_tokens: list[int]
    is_closing: bool
    next_close_check: int
    logprobs: list[ChosenLogprob]


class PartialAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer that another engine has begun. A fresh engine continues from it with the same text.

    `step_sizes` are the numbers of tokens that were computed together, in order; empty allows any. Computing the
    tokens in other steps is faster and nearly the same, but near ties may flip: llama.cpp multiplies one row
    and several rows in different ways.
    """

    tokens: list[int] = []
    timings: StartTimings | None = None
    held_state: HeldState | None = None
    step_sizes: list[int] = []


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """The addition of one step to answer `index` of request `id`.

    Attributes:
        text: whole characters; may be "".
        timings: comes with the first delta of an answer.
        held_state: comes with each delta that leaves anything undetermined.
        progress: comes alone, before the first token, in a request that asks for it.
        num_accepted: tokens at its beginning that had been guessed, and were computed in the same step.
    """

    id: int
    index: int
    text: str
    tokens: list[int] = []
    logprobs: list[ChosenLogprob] | None = None
    finish: Finish | None = None
    timings: StartTimings | None = None
    held_state: HeldState | None = None
    progress: PromptProgress | None = None
    num_accepted: int = 0

    def followed_by(self, next: Delta, *, num_accepted: int) -> Delta:
        """This addition and the `next` one, before which `num_accepted` tokens had been guessed."""
        return msgspec.structs.replace(
            next,
            text=self.text + next.text,
            tokens=self.tokens + next.tokens,
            logprobs=None if self.logprobs is None else self.logprobs + (next.logprobs or []),
            timings=self.timings or next.timings,
            num_accepted=self.num_accepted + num_accepted,
        )


class EngineStats(msgspec.Struct, frozen=True):
    """Counters since the start (`*_total`) and gauges of this moment."""

    running: int = 0
    waiting: int = 0
    cells: int = 0
    cells_used: int = 0
    cells_cached: int = 0
    prompt_tokens_total: int = 0
    cached_tokens_total: int = 0
    completion_tokens_total: int = 0
    forced_tokens_total: int = 0
    drafted_tokens_total: int = 0
    drafted_by_prediction_total: int = 0
    drafted_by_model_total: int = 0
    accepted_tokens_total: int = 0
    accepted_by_prediction_total: int = 0
    accepted_by_model_total: int = 0
    steps_total: int = 0
    preemptions_total: int = 0
    ram_cache_hits_total: int = 0
    ram_cache_tokens_total: int = 0
    ram_cache_failures_total: int = 0
    ram_cache_bytes: int = 0
    snapshots_total: int = 0
    resumed_answers_total: int = 0
    resumed_tokens_total: int = 0
    step_ms: float = 0.0
    threads: int = 0

    def with_totals_of(self, earlier: EngineStats) -> EngineStats:
        """These figures, with the counters of an earlier engine added."""
        counters = [name for name in self.__struct_fields__ if name.endswith("_total")]
        totals = {name: getattr(self, name) + getattr(earlier, name) for name in counters}
        return msgspec.structs.replace(self, **totals)
