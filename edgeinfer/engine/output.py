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


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """What one step added to answer `index` of request `id`. `text` is whole characters, and may be ""."""

    id: int
    index: int
    text: str
    tokens: list[int] = []
    logprobs: list[ChosenLogprob] | None = None
    finish: Finish | None = None


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
