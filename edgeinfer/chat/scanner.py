"""Text that arrives in pieces, for parsers written as if it were there at once."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from edgeinfer.chat.events import Event

T = TypeVar("T")

Steps = Generator[Event | None, None, T]
"""A parser under way: yields events, and None where it cannot go on without more text."""


class Scanner:
    """What has arrived and was not taken yet.

    Attributes:
        text: it.
        final: no more will come.
    """

    def __init__(self) -> None:
        self.text = ""
        self.final = False

    def take(self, size: int) -> str:
        taken, self.text = self.text[:size], self.text[size:]
        return taken

    def expect(self, *texts: str) -> Steps[str | None]:
        """Take the longest of the texts that the rest begins with; None, and nothing taken, if it is none."""
        while True:
            open_ones = [text for text in texts if len(text) > len(self.text) and text.startswith(self.text)]
            if self.final or not open_ones:
                break
            yield None
        found = max((text for text in texts if self.text.startswith(text)), key=len, default=None)
        if found is not None:
            self.take(len(found))
        return found

    def space(self) -> Steps[str]:
        """Take white space, all of it."""
        while not (self.final or self.text.strip()):
            yield None
        return self.take(len(self.text) - len(self.text.lstrip()))

    def before(self, mark: str) -> Steps[str | None]:
        """Take some of what stands before `mark`; "" once the mark is next, None once the text has ended.

        White space right before the mark, or the end, is left to the caller: it comes as one last piece.
        """
        while True:
            at = self.text.find(mark)
            size = at if at >= 0 else len(self.text) - partial(self.text, mark)
            safe = len(self.text[:size].rstrip())
            if safe:
                return self.take(safe)
            if at >= 0:
                return ""
            if self.final:
                return None
            yield None


def partial(text: str, mark: str) -> int:
    """How many characters at the end of the text could be the beginning of the mark."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-n:])), 0)
