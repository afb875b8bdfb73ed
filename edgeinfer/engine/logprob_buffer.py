"""Releases log-probabilities in step with the text that is sent."""

from __future__ import annotations

from collections import deque
from itertools import accumulate

from edgeinfer.inference.output import ChosenLogprob


class LogprobBuffer:
    """Holds a token's log-probabilities back as long as its text is held back.

    So the released tokens of an answer spell its text, and those of a stop text are not among them.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, ChosenLogprob]] = deque()  # with the byte offset where each begins
        self._num_pushed_bytes = 0
        self._num_sent_bytes = 0

    @property
    def held(self) -> list[ChosenLogprob]:
        """Entries that are not released yet."""
        return [entry for _, entry in self._entries]

    def replay(self, pieces: list[bytes], text: str, held: list[ChosenLogprob]) -> None:
        """Restore the state after tokens of these `pieces` were pushed and `text` was sent.

        `held` are the entries of the last tokens, which were not released yet.
        """
        starts = list(accumulate(map(len, pieces), initial=0))
        self._num_pushed_bytes = starts.pop()
        self._num_sent_bytes = len(text.encode("utf-8", "replace"))
        self._entries.extend(zip(starts[len(starts) - len(held) :], held, strict=True))

    def push(self, entry: ChosenLogprob) -> None:
        self._entries.append((self._num_pushed_bytes, entry))
        self._num_pushed_bytes += len(entry.chosen.piece)

    def release(self, text: str) -> list[ChosenLogprob]:
        """`text` is being sent; -> the entries of the tokens that begin in it."""
        self._num_sent_bytes += len(text.encode("utf-8", "replace"))
        released = []
        while self._entries and (
            self._entries[0][0] < self._num_sent_bytes or not self._entries[0][1].chosen.piece
        ):
            released.append(self._entries.popleft()[1])
        return released

    def flush(self) -> list[ChosenLogprob]:
        """The remaining entries, when the answer ends without a stop text."""
        remaining = self.held
        self._entries.clear()
        return remaining
