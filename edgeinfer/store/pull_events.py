"""Events of `edgeinfer pull --events`: a line of JSON each, for the program that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from edgeinfer.errors import ErrorData

UPDATE_INTERVAL = 0.2
"""Seconds between two reports of bytes."""


class PullEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event.

    Attributes:
        text: of a message, or the title of a job with a size.
        total, done: bytes of a job.
        sha256: of the file that is downloaded, in hex.
        error: why it failed; the last event.
        model: the full name of the model that is installed now; the last event.
    """

    text: str = ""
    total: int | None = None
    done: int | None = None
    sha256: str | None = None
    error: ErrorData | None = None
    model: str | None = None


class EventProgress:
    """Writes the progress of jobs as events.

    Attributes:
        hashes: the sha256 of files, by the titles that their jobs have.
    """

    def __init__(
        self, write: Callable[[PullEvent], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.hashes: Mapping[str, str] = {}
        self._write = write
        self._clock = clock
        self._title = ""
        self._total = 0
        self._due = 0.0

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self._title, self._total = title, total
        self._report(done)
        self._due = 0.0  # the first bytes are a sign of life

    def update(self, done: int) -> None:
        if done >= self._total or self._clock() >= self._due:
            self._report(done)

    def message(self, text: str) -> None:
        self._write(PullEvent(text))

    def end(self) -> None:
        pass

    def _report(self, done: int) -> None:
        self._due = self._clock() + UPDATE_INTERVAL
        self._write(PullEvent(self._title, self._total, done, self.hashes.get(self._title)))
