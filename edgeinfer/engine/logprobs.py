"""Log-probabilities: of one row of logits, and in step with the text that is sent."""

from __future__ import annotations

import math
from collections import deque
from itertools import accumulate

import numpy as np

from edgeinfer.engine.backend import Row
from edgeinfer.inference.output import ChosenLogprob


def log_probabilities(row: Row, chosen: int, k: int) -> tuple[float, list[tuple[int, float]]]:
    """Of the untouched `row`: the log-probability of `chosen`, and the `k` likeliest tokens with theirs."""
    best = float(row.max())
    total = best + math.log(float(np.exp(row - best).sum(dtype=np.float64)))
    top: list[tuple[int, float]] = []
    if k:
        likeliest = np.argpartition(-row, k - 1)[:k] if k < len(row) else np.arange(len(row))
        likeliest = likeliest[np.argsort(-row[likeliest], kind="stable")]
        top = [(int(t), float(row[t]) - total) for t in likeliest]
    return float(row[chosen]) - total, top


class LogprobBuffer:
    """Holds a token's log-probabilities back as long as its text is held back.

    So the tokens of an answer spell its text, and those of a stop text are not among them.
    """

    def __init__(self) -> None:
        self._held: deque[tuple[int, ChosenLogprob]] = deque()
        self._produced = 0
        self._sent = 0

    @property
    def held(self) -> list[ChosenLogprob]:
        """Entries still to be released."""
        return [entry for _, entry in self._held]

    def replay(self, pieces: list[bytes], text: str, held: list[ChosenLogprob]) -> None:
        """Tokens of these `pieces` were pushed, and `text` of them was sent; the last ones are still `held`."""
        starts = list(accumulate(map(len, pieces), initial=0))
        self._produced = starts.pop()
        self._sent = len(text.encode("utf-8", "replace"))
        self._held.extend(zip(starts[len(starts) - len(held) :], held, strict=True))

    def push(self, entry: ChosenLogprob) -> None:
        self._held.append((self._produced, entry))
        self._produced += len(entry.chosen.piece)

    def release(self, text: str) -> list[ChosenLogprob]:
        """`text` is being sent; -> the entries of the tokens that begin in it."""
        self._sent += len(text.encode("utf-8", "replace"))
        found = []
        while self._held and (self._held[0][0] < self._sent or not self._held[0][1].chosen.piece):
            found.append(self._held.popleft()[1])
        return found

    def flush(self) -> list[ChosenLogprob]:
        """The rest, where the answer ended otherwise than by a stop text."""
        found = [entry for _, entry in self._held]
        self._held.clear()
        return found
