"""What one request has cost, for its line in the log and its trace."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Protocol

import msgspec


class MeasuredFinish(Protocol):
    """The end of one answer."""

    @property
    def reason(self) -> str: ...

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def cached_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...

    @property
    def queue_ms(self) -> float: ...


class RequestFigures(msgspec.Struct):
    """The figures of a request, which fill up while it is answered.

    Attributes:
        model: its name; None if the request asked no model.
        prompt_tokens, cached_tokens, completion_tokens: of all its answers together.
        queued: seconds until the last of its prompts was begun.
        first_token: when the first token came, by time.perf_counter().
        finish_reasons: of each answer that ended.
    """

    model: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    queued: float = 0.0
    first_token: float | None = None
    finish_reasons: list[str] = []

    def token(self) -> None:
        """Note that a token came."""
        if self.first_token is None:
            self.first_token = time.perf_counter()

    def finish(self, answer: MeasuredFinish) -> None:
        """Add an answer that has ended. Several answers to one prompt have read it once."""
        self.prompt_tokens = max(self.prompt_tokens, answer.prompt_tokens)
        self.cached_tokens = max(self.cached_tokens, answer.cached_tokens)
        self.completion_tokens += answer.completion_tokens
        self.queued = max(self.queued, answer.queue_ms / 1000)
        self.finish_reasons.append(answer.reason)


current: ContextVar[RequestFigures | None] = ContextVar("edgeinfer_request_figures", default=None)
"""Those of the request that is being answered here."""
