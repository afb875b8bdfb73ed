"""When to try again, and when no more."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from edgeinfer.errors import DownloadFailed
from edgeinfer.hub.endpoint import Endpoint

T = TypeVar("T")

FIRST_CONTACT = 3
"""Attempts at a short question: whoever asks is waiting."""


class Trouble(Exception):
    """It may work later: in `wait` seconds, if the server said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Retries:
    """Waits between the attempts at one thing, and gives up after a row of failures."""

    def __init__(self, endpoint: Endpoint, note: Callable[[str], None], attempts: int | None = None) -> None:
        self._endpoint = endpoint
        self._patience = endpoint.patience
        self._attempts = attempts or self._patience.attempts
        self._note = note
        self._failures = 0

    def call(self, action: Callable[[], T]) -> T:
        """What `action` gives, as soon as it raises no Trouble."""
        while True:
            try:
                return action()
            except Trouble as trouble:  # noqa: PERF203
                self.after(trouble)

    def progressed(self) -> None:
        self._failures = 0

    def after(self, trouble: Trouble) -> None:
        """Wait before the next attempt.

        Raises:
            DownloadFailed: there shall be none.
        """
        self._failures += 1
        patience = self._patience
        hint = "the same command goes on from here"
        if trouble.wait is not None and trouble.wait > patience.longest_wait:
            raise DownloadFailed(f"{trouble}; it asks to wait {trouble.wait:.0f} s", hint=hint)
        if self._failures >= self._attempts:
            if not self._endpoint.public:
                hint += f"; HF_ENDPOINT is {self._endpoint.url}"
            raise DownloadFailed(f"{trouble} (tried {self._failures} times)", hint=hint)
        pause = min(patience.pause * 2 ** (self._failures - 1), patience.longest_pause)
        # A fleet of boards that lost the same server must not come back in step.
        pause = max(pause * random.uniform(0.8, 1.2), trouble.wait or 0.0)
        self._note(f"{trouble}; trying again in {pause:.0f} s" if pause >= 1 else f"{trouble}; trying again")
        time.sleep(pause)
