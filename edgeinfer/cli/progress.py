"""Progress of a long job, on stderr: a bar in a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from edgeinfer.cli import terminal
from edgeinfer.cli.status_report import duration
from edgeinfer.store.progress import Progress, size_text

if TYPE_CHECKING:
    import rich.progress

T = TypeVar("T")

LINE_INTERVAL = 5.0
"""Seconds between two lines."""

RATE_WINDOW = 30.0
"""Seconds that the rate is measured over."""


def make_progress() -> Progress:
    if terminal.can_draw(sys.stderr):
        return ProgressBar()
    return ProgressLines()


class ProgressLines:
    """Progress for a log, a pipe or a service."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._began = self._said = 0.0
        self._done = 0
        self._samples: deque[tuple[float, int]] = deque()

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self._total, self._done = total, done
        self._began = self._said = self._clock()
        self._samples = deque([(self._said, done)])
        terminal.say(f"{title}: {size_text(total)}")

    def update(self, done: int) -> None:
        if done < self._done:
            self._samples.clear()
        self._done, now = done, self._clock()
        if now - self._said >= LINE_INTERVAL or not self._samples:
            self._samples.append((now, done))
            self._said = now
            while now - self._samples[0][0] > RATE_WINDOW and len(self._samples) > 2:
                self._samples.popleft()
            terminal.say(self._line())

    def message(self, text: str) -> None:
        terminal.say(text)

    def end(self) -> None:
        if self._done < self._total:
            terminal.say(f"stopped at {size_text(self._done)} of {size_text(self._total)}")
        else:
            terminal.say(f"100 %  {size_text(self._total)} in {duration(self._clock() - self._began)}")

    def _line(self) -> str:
        line = f"{100 * self._done // max(self._total, 1):3d} %  {size_text(self._done)} of {size_text(self._total)}"
        (before, had), (now, have) = self._samples[0], self._samples[-1]
        if now > before and have > had:
            rate = (have - had) / (now - before)
            line += f", {size_text(rate)}/s, {duration((self._total - have) / rate)} left"
        return line


class ProgressBar:
    """Progress for a person at a terminal."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None

    def begin(self, title: str, total: int, done: int = 0) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(compact=True),
            console=Console(stderr=True, highlight=False, markup=False, emoji=False),
            speed_estimate_period=RATE_WINDOW,
        )
        self._bar.add_task(terminal.escape_control(title), total=total, completed=done)
        self._bar.start()

    def update(self, done: int) -> None:
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done)

    def message(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(terminal.escape_control(text))
        else:
            terminal.say(text)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def with_progress(title: str, size: int, job: Callable[[Callable[[int], None]], T]) -> T:
    """Run `job` and show how much of a file it has read, if it reads it."""
    progress, done = make_progress(), 0

    def advance(n: int) -> None:
        nonlocal done
        if not done:
            progress.begin(title, size)
        done += n
        progress.update(done)

    try:
        return job(advance)
    finally:
        if done:
            progress.end()
