"""Reports how far a long job on a file has come."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows one job after another, each from its `begin` to its `end`."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Start a job of `total` bytes, of which `done` are already there."""

    def update(self, done: int) -> None:
        """Report the bytes done so far; fewer than before if some had to be discarded."""

    def message(self, text: str) -> None:
        """Tell the user about an event."""

    def end(self) -> None:
        """End the job, whether it succeeded or not."""


class NullProgress:
    """Shows nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        pass

    def update(self, done: int) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


def size_text(size: float) -> str:
    """Format bytes as disks and hubs count them: "1.12 GB", "491 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            amount = size / factor
            digits = 2 if amount < 10 else 1 if amount < 100 else 0
            return f"{amount:.{digits}f} {unit}"
    return f"{size:.0f} bytes"
