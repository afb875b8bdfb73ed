"""Chooses the next token from a row of logits, in numpy.

llama.cpp's own sampler chain builds an array of all candidates for each token, which takes 0.4 to 1 ms for a
vocabulary of 152k; an argmax over the row takes 11 us. Here a threshold cuts the candidates before any are
sorted or exponentiated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Seq
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeinfer.engine.backend import Row
from edgeinfer.inference.sampling import SamplingParams

if TYPE_CHECKING:
    from edgeinfer.engine.structured.constraint import Constraint

MAX_LOGIT_GAP = 20.0
"""Distance to the best logit, in nats, from which candidates are dropped: each weighs under e-20 of the best."""

REDRAW_STREAM_OFFSET = 1 << 32
"""Offset between the random streams of first and second draws; larger than any `n`."""

_MASK_64 = (1 << 64) - 1


def uniform(seed: int, stream: int, position: int) -> float:
    """A number in [0, 1) that depends only on its arguments, so that a resumed sequence draws the same ones.

    SplitMix64's finalizer (Steele, Lea, Flood 2014) over a mix of the three.
    """
    x = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + position * 0x8CB92BA72F3D8DD7) & _MASK_64
    for _ in range(2):
        x = (x + 0x9E3779B97F4A7C15) & _MASK_64
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK_64
        x ^= x >> 31
    return (x >> 11) / (1 << 53)


Weights = npt.NDArray[np.float64]
"""Probabilities of candidates, most likely first, up to a common factor."""

Filter = Callable[[Weights], slice | npt.NDArray[np.intp]]
"""Selects the candidates to keep, in their order."""


def _typical(p: float, weights: Weights) -> npt.NDArray[np.intp]:
    """Candidates nearest the expected surprise, until their probabilities exceed p."""
    probabilities = weights / weights.sum()
    surprise = -np.log(probabilities)
    entropy = (probabilities * surprise).sum()
    nearest = np.argsort(np.abs(surprise - entropy), kind="stable")
    kept = int(np.searchsorted(np.cumsum(probabilities[nearest]), p, side="right")) + 1
    return np.sort(nearest[:kept])


def _top_p(p: float, weights: Weights) -> slice:
    return slice(int(np.searchsorted(np.cumsum(weights), p * weights.sum())) + 1)


def _min_p(p: float, weights: Weights) -> slice:
    return slice(int((weights >= p * weights[0]).sum()))


def _active_filters(params: SamplingParams) -> list[Filter]:
    """The filters after top_k, in the order of the chain; those that are off cost nothing."""
    filters: list[Filter] = []
    if params.typical_p < 1:
        filters.append(partial(_typical, params.typical_p))
    if params.top_p < 1:
        filters.append(partial(_top_p, params.top_p))
    if params.min_p > 0:
        filters.append(partial(_min_p, params.min_p))
    return filters


class Sampler:
    """Samples one answer. `stream` distinguishes the answers of one seeded request."""

    def __init__(self, params: SamplingParams, seed: int, stream: int, prompt: Seq[int] = ()) -> None:
        self.params = params
        self._seed = seed
        self._stream = stream
        self._prompt = prompt
        self._produced: list[int] = []
        self._counts: Counter[int] = Counter()
        self._filters = _active_filters(params)

    def accept(self, token: int) -> None:
        """Record that `token` is now part of the answer."""
        self._produced.append(token)
        self._counts[token] += 1

    def sample(self, row: Row, constraint: Constraint | None = None) -> int:
        """The next token, one that `constraint` allows. Changes `row`. Raises ConstraintFailed.

        The first draw is free and kept if it is allowed. Otherwise a second one is made among the allowed tokens.
        Together they follow the probabilities of the allowed tokens.
        """
        self._penalize(row)
        token = self._draw(row, 0)
        if constraint is None or constraint.allows(token):
            return token
        constraint.apply_mask(row)
        return self._draw(row, 1)

    def _draw(self, row: Row, attempt: int) -> int:
        params = self.params
        best = int(row.argmax())
        if params.temperature <= 0 or params.top_k == 1 or not math.isfinite(row[best]):
            return best
        tokens, logits = self._candidates(row, float(row[best]))
        weights = np.exp((logits - logits[0]) / np.float64(params.temperature))
        for keep in self._filters:
            selection = keep(weights)
            tokens, weights = tokens[selection], weights[selection]
        sums = np.cumsum(weights)
        stream = self._stream + attempt * REDRAW_STREAM_OFFSET
        draw = uniform(self._seed, stream, len(self._produced)) * sums[-1]
        return int(tokens[min(int(np.searchsorted(sums, draw, side="right")), len(tokens) - 1)])

    def _candidates(self, row: Row, best: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Tokens worth considering and their logits, most likely first; at least one."""
        params = self.params
        cut = MAX_LOGIT_GAP
        # min_p may cut here only if no filter before it needs the total of all candidates.
        if params.min_p > 0 and params.top_p >= 1 and params.typical_p >= 1:
            cut = min(cut, -math.log(params.min_p) + 1e-3)
        tokens = np.flatnonzero(row >= best - cut * params.temperature)
        logits = row[tokens].astype(np.float64)
        if 0 < params.top_k < len(tokens):
            top = np.argpartition(-logits, params.top_k - 1)[: params.top_k]
            tokens, logits = tokens[top], logits[top]
        order = np.argsort(-logits, kind="stable")
        return tokens[order], logits[order]

    def _penalize(self, row: Row) -> None:
        params = self.params
        if params.repeat_penalty != 1 and params.repeat_last_n != 0:
            seen = np.fromiter(self._recent(), np.int64)
            values = row[seen]
            row[seen] = np.where(values > 0, values / params.repeat_penalty, values * params.repeat_penalty)
        if (params.presence_penalty or params.frequency_penalty) and self._counts:
            produced = np.fromiter(self._counts, np.int64)
            counts = np.fromiter(self._counts.values(), np.float32)
            row[produced] -= params.presence_penalty + params.frequency_penalty * counts
        for token, bias in params.logit_bias.items():
            row[token] += bias

    def _recent(self) -> set[int]:
        n = self.params.repeat_last_n
        if n < 0 or n > len(self._produced) + len(self._prompt):
            n = len(self._produced) + len(self._prompt)
        of_prompt = n - len(self._produced)
        recent = set(self._produced[-n:]) if n else set()
        return recent.union(self._prompt[-of_prompt:]) if of_prompt > 0 else recent
