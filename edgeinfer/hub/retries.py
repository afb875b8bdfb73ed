"""Decides when to try a request again, and when to give up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from edgeinfer.errors import DownloadFailed
from edgeinfer.hub.endpoint import Endpoint

T = TypeVar("T")

MAX_LISTING_ATTEMPTS = 3
"""Attempts at a short request, since someone is waiting for the answer."""


class RetryableError(Exception):
    """A failure that may go away: after `retry_after` seconds, if the server said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RangeRefused(RetryableError):
    """The server cannot send a part of a file, or not the one that was asked for."""


class RetryState:
    """Counts the failures of one request, and waits between its attempts."""

    def __init__(
        self, endpoint: Endpoint, message: Callable[[str], None], max_attempts: int | None = None
    ) -> None:
        self._endpoint = endpoint
        self._policy = endpoint.retry_policy
        self._max_attempts = max_attempts or self._policy.max_attempts
        self._message = message
        self._failures = 0

    def call(self, action: Callable[[], T]) -> T:
        """Call `action` until it raises no RetryableError, and return its result."""
        while True:
            try:
                return action()
            except RetryableError as error:  # noqa: PERF203
                self.wait_for_next(error)

    def reset(self) -> None:
        """Start counting again: the last attempt made progress."""
        self._failures = 0

    def wait_for_next(self, error: RetryableError) -> None:
        """Count a failure, and sleep until the next attempt.

        Raises:
            DownloadFailed: there will be no next attempt.
        """
        self._failures += 1
        policy = self._policy
        hint = "run the same command again: it continues from here"
        if error.retry_after is not None and error.retry_after > policy.max_retry_after:
            raise DownloadFailed(f"{error}; it asks to wait {error.retry_after:.0f} s", hint=hint)
        if self._failures >= self._max_attempts:
            if not self._endpoint.public:
                hint += f"; HF_ENDPOINT is {self._endpoint.url}"
            raise DownloadFailed(f"{error} (tried {self._failures} times)", hint=hint)
        pause = min(policy.backoff * 2 ** (self._failures - 1), policy.max_backoff)
        # A fleet of boards that lost the same server must not come back in step.
        pause = max(pause * random.uniform(0.8, 1.2), error.retry_after or 0.0)
        self._message(f"{error}; trying again in {pause:.0f} s" if pause >= 1 else f"{error}; trying again")
        time.sleep(pause)
