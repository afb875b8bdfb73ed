"""Guesses the next tokens of an answer from what it repeats, at next to no cost.

The idea is prompt lookup decoding (Saxena 2023): code that is edited, a passage that is quoted and a list that goes
on as it began are in the prompt, in the answer so far, or in what the caller predicts (OpenAI's `prediction`).
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

DraftKind = Literal["ngram", "prediction", "model"]
"""Where guesses are from: what the answer repeats, its request's prediction, or a draft model."""

MATCH = 3
"""Tokens that must be equal before the next ones are taken for a guess. Two are equal by chance too often."""

LONG_MATCH = 8
"""Equal tokens in a row from which an answer is taken to repeat a whole passage."""

SMOOTHING = 0.15
"""Weight of a new observation in the share of right guesses."""


class Drafter(Protocol):
    """Guesses how one answer goes on."""

    @property
    def kind(self) -> DraftKind: ...

    @property
    def acceptance(self) -> float:
        """The probability that the next guess is right, if all before it are."""
        ...

    def draft(self, n: int) -> list[int]:
        """Up to `n` tokens that may come next; none if there is no guess."""
        ...

    def push(self, token: int) -> None:
        """The answer goes on with `token`."""
        ...


class NgramDrafter:
    """Follows the answer through the place that it repeats, and loses that place at the first other token.

    Each token of the answer shows whether the guess for it was right, even if nothing was drafted. So a draft is tried
    only where guesses have been right.
    """

    def __init__(self, prompt: Seq[int], prediction: Seq[int], ctx: int) -> None:
        """`prediction`: tokens that the caller expects; the answer is taken to begin like them."""
        self._prediction: Tokens = np.array(prediction, np.int32)
        self._history: Tokens = np.empty(ctx + 1, np.int32)
        self._history[: len(prompt)] = prompt
        self._length = len(prompt)
        self._in_prediction = bool(prediction)
        self._next: int | None = 0 if prediction else None
        self._matched = LONG_MATCH if prediction else 0
        self._right = [[0.15, 0.6], [0.6, 0.9]]
        """Shares of right guesses after a short and a long match, in what was before and in the prediction.

        At first what is usual in free text and copies, and in a text with a few changes.
        """

    @property
    def kind(self) -> DraftKind:
        return "prediction" if self._in_prediction else "ngram"

    @property
    def acceptance(self) -> float:
        """The probability that the next guess is right, if all before it are."""
        return self._right[self._in_prediction][self._matched >= LONG_MATCH]

    def draft(self, n: int) -> list[int]:
        """Up to `n` tokens that may come next; none if nothing is being repeated."""
        if self._next is None:
            return []
        source, length = self._source
        tokens: list[int] = source[self._next : min(self._next + n, length)].tolist()
        if not self._in_prediction:
            # What is repeated overlaps its repetition, as in "ab ab ab": the draft repeats itself.
            while len(tokens) < n:
                tokens.append(tokens[self._next + len(tokens) - length])
        return tokens

    def push(self, token: int) -> None:
        """The answer goes on with `token`."""
        self._history[self._length] = token
        self._length += 1
        if self._next is not None:
            source, _ = self._source
            right = bool(source[self._next] == token)
            shares, kind = self._right[self._in_prediction], self._matched >= LONG_MATCH
            shares[kind] += SMOOTHING * (right - shares[kind])
            self._next, self._matched = (self._next + 1, self._matched + 1) if right else (None, 0)
            if self._in_prediction and self._next == len(self._prediction):
                self._next, self._matched = None, 0
        if self._next is None:
            self._find()

    @property
    def _source(self) -> tuple[Tokens, int]:
        if self._in_prediction:
            return self._prediction, len(self._prediction)
        return self._history, self._length

    def _find(self) -> None:
        """Look for the longest passage that ends with the last tokens: in the prediction, then in what was before them.

        Of passages that are equally long, it is the last one.
        """
        last = self._history[max(0, self._length - LONG_MATCH) : self._length][::-1]
        for in_prediction, source in (
            (True, self._prediction[:-1]),
            (False, self._history[: self._length - 1]),
        ):
            end, matched = _longest_match(source, last)
            if matched >= MATCH and matched > self._matched:
                self._in_prediction = in_prediction
                self._next, self._matched = end + 1, matched


def _longest_match(source: Tokens, last: Tokens) -> tuple[int, int]:
    """Where the longest passage of `source` ends that is equal to the first of `last`, backwards, and its length."""
    found = (0, 0)
    ends = np.flatnonzero(source == last[0])
    for n in range(1, len(last) + 1):
        if not len(ends):
            break
        found = (int(ends[-1]), n)
        if n < len(last):
            ends = ends[ends >= n]
            ends = ends[source[ends - n] == last[n]]
    return found
