"""How far a long job on a file has come, for whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by one job after the other, each from its `begin` to its `end`."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """A job of `total` bytes starts, of which `done` are behind us already."""

    def update(self, done: int) -> None:
        """So many bytes are done; fewer than before where something had to be thrown away."""

    def message(self, text: str) -> None:
        """Something happened that a person should know."""

    def end(self) -> None:
        """The job is over, well or not."""


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
    """Bytes as disks and hubs count them: "1.12 GB", "491 MB"."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= least:
            found = size / least
            return (
                f"{found:.2f} {unit}"
                if found < 10
                else f"{found:.1f} {unit}"
                if found < 100
                else f"{found:.0f} {unit}"
            )
    return f"{size:.0f} bytes"
