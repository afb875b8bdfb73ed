"""What an engine step brings forth. Plain data: the daemon imports this, and it never loads numpy."""

from __future__ import annotations

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length"]


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """One candidate: its id, its bytes (not always valid UTF-8 on their own), its log-probability."""

    token: int
    piece: bytes
    logprob: float


class ChosenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The token that was produced, and the likeliest in its place, best first."""

    chosen: TokenLogprob
    top: list[TokenLogprob]


class Finish(msgspec.Struct, frozen=True):
    """How one answer ended, and what it cost.

    `cached_tokens` of `prompt_tokens` were already in the KV cache. `stop` is the stop text that was met;
    None with reason "stop" is an end token. Times are milliseconds from the worker's clock.
    """

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    stop: str | None = None
    queue_ms: float = 0.0
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """How an answer began: its wait, the reading of its prompt, and what of that was in the KV cache already."""

    queue_ms: float
    prompt_ms: float
    cached_tokens: int


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """Of an unfinished answer, what its tokens do not tell, and what whoever goes on with it must know.

    Attributes:
        due: tokens that must come next, whatever the model thinks.
        ending: with the last of them the answer is complete.
        look_at: tokens left at which to see whether the answer can still be completed.
        logprobs: of the last tokens, whose text is held back.
    """

    due: list[int]
    ending: bool
    look_at: int
    logprobs: list[ChosenLogprob]


class Produced(msgspec.Struct, frozen=True, array_like=True):
    """An answer as far as another engine has written it; with it a fresh one writes the same continuation.

    `runs`: how many of the tokens were computed together, run by run. To compute them otherwise is faster and nearly
    the same, but a near tie may flip: llama.cpp multiplies one row and several in different ways. Empty: anyhow.
    """

    tokens: list[int] = []
    begun: Begun | None = None
    pending: Pending | None = None
    runs: list[int] = []


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """What one step added to answer `index` of request `id`. `text` is whole characters, and may be "".

    `begun` comes with the first of an answer, `pending` with each that leaves something in suspense.
    """

    id: int
    index: int
    text: str
    tokens: list[int] = []
    logprobs: list[ChosenLogprob] | None = None
    finish: Finish | None = None
    begun: Begun | None = None
    pending: Pending | None = None


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
    steps_total: int = 0
    preemptions_total: int = 0
    step_ms: float = 0.0
