"""Turns token bytes into text that may be sent: whole characters, and no part of a stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence as Seq


class IncrementalDetokenizer:
    """Decodes UTF-8 token by token and watches for stop texts, which may span tokens.

    A tail that could still become a stop text is held back until it can't, or until `flush`. Of several stop
    texts the one completed first ends the answer, wherever the token boundaries lie.
    """

    def __init__(self, stops: Seq[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(s for s in stops if s)
        self._held = ""
        self.matched_stop: str | None = None
        """The stop text that was met; no text is released after it."""

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; -> text that is now certain to be part of the answer."""
        return self._release(self._decoder.decode(piece))

    def flush(self) -> str:
        """The remaining text, when the answer ends without a stop text. Broken UTF-8 becomes U+FFFD."""
        text = self._release(self._decoder.decode(b"", final=True))
        text, self._held = text + self._held, ""
        return text

    def _release(self, text: str) -> str:
        if self.matched_stop is not None:
            return ""
        text = self._held + text
        self._held = ""
        matches = [(at + len(s), at, s) for s in self._stops if (at := text.find(s)) >= 0]
        if matches:
            _, at, self.matched_stop = min(matches)
            return text[:at]
        keep = max((_overlap(text, s) for s in self._stops), default=0)
        if keep:
            text, self._held = text[:-keep], text[-keep:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a proper prefix of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
