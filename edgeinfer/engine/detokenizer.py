"""From token bytes to text that may be sent: whole characters only, and never a part of a stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence as Seq


class IncrementalDetokenizer:
    """Incremental UTF-8 decoding with stop texts that may span tokens.

    A tail that could still become a stop text is held back until it can't, or until `flush`. Of several stop
    texts the one that is complete first ends the answer, however the bytes are cut.
    """

    def __init__(self, stops: Seq[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(s for s in stops if s)
        self._held = ""
        self.stop: str | None = None
        """The stop text that was met; nothing more comes out after it."""

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; -> text that is now certain to be part of the answer."""
        return self._release(self._decoder.decode(piece))

    def flush(self) -> str:
        """The rest: the answer ended otherwise than by a stop text. Broken UTF-8 becomes U+FFFD."""
        text = self._release(self._decoder.decode(b"", final=True))
        text, self._held = text + self._held, ""
        return text

    def _release(self, text: str) -> str:
        if self.stop is not None:
            return ""
        text = self._held + text
        self._held = ""
        met = [(at + len(s), at, s) for s in self._stops if (at := text.find(s)) >= 0]
        if met:
            _, at, self.stop = min(met)
            return text[:at]
        keep = max((_overlap(text, s) for s in self._stops), default=0)
        if keep:
            text, self._held = text[:-keep], text[-keep:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
