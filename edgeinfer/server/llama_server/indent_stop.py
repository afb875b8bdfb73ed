"""Ends an answer by its lines, as editors want it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable


class IndentStop:
    """Ends an answer before a line with too little indentation, or after a line once time is up.

    The first line continues the prefix, so its indentation does not count; neither does that of blank lines.

    Attributes:
        ended: the answer is complete.
    """

    def __init__(self, indent: int, ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.ended = False
        self._short = re.compile(rf"\n[ \t]{{0,{indent - 1}}}\S") if indent > 0 else None
        self._seconds = ms / 1e3 if ms > 0 else None
        self._clock = clock
        self._began: float | None = None
        self._held = ""

    def push(self, text: str) -> str:
        """Add text; -> the text that is certain to be part of the answer. A line break waits for its line."""
        if self.ended:
            return ""
        if self._late() and "\n" in text:
            text, self.ended = text.partition("\n")[0], True
        text, self._held = self._held + text, ""
        if self._short is None:
            return text
        if short := self._short.search(text):
            self.ended = True
            return text[: short.start()]
        if (start := text.find("\n", len(text.rstrip()))) >= 0:
            text, self._held = text[:start], text[start:]
        return text

    def flush(self) -> str:
        """The held-back rest of an answer that the model ended."""
        text, self._held = self._held, ""
        return "" if self.ended else text

    def _late(self) -> bool:
        """True once the time is up, which begins with the first token."""
        if self._began is None:
            self._began = self._clock()
        return self._seconds is not None and self._clock() - self._began > self._seconds
