"""Text that arrives in pieces, for parsers that are written as if it were all there."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from edgeinfer.chat.events import Event

T = TypeVar("T")

Steps = Generator[Event | None, None, T]
"""A running parser: yields events, and None when it needs more text."""


class Scanner:
    """The text that has arrived and was not taken yet.

    Attributes:
        text: that text.
        final: no more will arrive.
    """

    def __init__(self) -> None:
        self.text = ""
        self.final = False

    def take(self, size: int) -> str:
        taken, self.text = self.text[:size], self.text[size:]
        return taken

    def expect(self, *texts: str) -> Steps[str | None]:
        """Take the longest of `texts` that the rest begins with; -> None, and nothing is taken, if there is none."""
        while True:
            unfinished = [text for text in texts if len(text) > len(self.text) and text.startswith(self.text)]
            if self.final or not unfinished:
                break
            yield None
        match = max((text for text in texts if self.text.startswith(text)), key=len, default=None)
        if match is not None:
            self.take(len(match))
        return match

    def space(self) -> Steps[str]:
        """Take all white space up to the next other character."""
        while not (self.final or self.text.strip()):
            yield None
        return self.take(len(self.text) - len(self.text.lstrip()))

    def before(self, mark: str) -> Steps[str | None]:
        """Take some of the text before `mark`; -> "" once the mark is next, None once the text has ended.

        White space right before the mark or the end is left to the caller.
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
    """The number of characters at the end of the text that could be the beginning of the mark."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-n:])), 0)
