"""Chooses the next token from a row of logits, in numpy.

llama.cpp's own sampler chain builds an array of all candidates for each token, which takes 0.4 to 1 ms for a
vocabulary of 152k; an argmax over the row takes 11 us. Here a threshold cuts the candidates first, and those left
are never sorted as a whole: they stay in the order of their numbers, and a filter sorts only what is near its limit.
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

MIN_TEMPERATURE = 1e-30
"""Far above the smallest number of 32 bits, and far below any temperature at which a second token has a chance."""

GROUP = 64
"""Tokens of which only the likeliest is looked at when a limit for top_k is sought."""

PART = 512
"""Candidates whose probabilities are added up together before one of them is drawn."""

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


Weights = npt.NDArray[np.float32]
"""Probabilities of candidates, up to a factor: the likeliest one's is 1."""

Selection = npt.NDArray[np.bool_] | npt.NDArray[np.intp]
Filter = Callable[[Weights], Selection]
"""Selects the candidates to keep."""


def _typical(p: float, weights: Weights) -> Selection:
    """Candidates nearest the expected surprise, until their probabilities exceed p."""
    probabilities = weights / weights.sum(dtype=np.float64)
    surprise = -np.log(probabilities)
    entropy = (probabilities * surprise).sum()
    nearest = np.argsort(np.abs(surprise - entropy), kind="stable")
    kept = int(np.searchsorted(np.cumsum(probabilities[nearest]), p, side="right")) + 1
    return np.sort(nearest[:kept])


def _top_p(p: float, weights: Weights) -> Selection:
    """The likeliest candidates, until their probabilities exceed p."""
    # The upper half of a float's bits puts candidates in steps of less than 1 %: only one step has to be sorted.
    step = (np.float32(1).view(np.int32) - weights.view(np.int32)) >> 16
    sums = np.cumsum(np.bincount(step, weights))
    limit = p * sums[-1]
    last = int(np.searchsorted(sums, limit, side="right"))
    kept = step < last
    edge = np.flatnonzero(step == last)
    edge = edge[np.argsort(-weights[edge], kind="stable")]
    before = sums[last - 1] if last else 0.0
    within = np.cumsum(weights[edge], dtype=np.float64)
    kept[edge[: int(np.searchsorted(within, limit - before, side="right")) + 1]] = True
    return kept


def _min_p(p: float, weights: Weights) -> Selection:
    kept: Selection = weights >= p * weights.max()
    return kept


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


def _chosen(weights: Weights, draw: float) -> int:
    """The candidate in whose share of the total `draw`, in [0, 1), falls."""
    # First a part of the candidates, then one in it: adding up all of 152k takes 20 times as long.
    starts = np.arange(0, len(weights), PART)
    sums = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    at = draw * sums[-1]
    part = min(int(np.searchsorted(sums, at, side="right")), len(sums) - 1)
    start = part * PART
    within = np.cumsum(weights[start : start + PART], dtype=np.float64)
    before = sums[part - 1] if part else 0.0
    return start + min(int(np.searchsorted(within, at - before, side="right")), len(within) - 1)


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
        tokens = self._candidates(row, float(row[best]))
        weights = np.exp((row[tokens] - row[best]) / np.float32(max(params.temperature, MIN_TEMPERATURE)))
        for keep in self._filters:
            selection = keep(weights)
            tokens, weights = tokens[selection], weights[selection]
        stream = self._stream + attempt * REDRAW_STREAM_OFFSET
        return int(tokens[_chosen(weights, uniform(self._seed, stream, len(self._produced)))])

    def _candidates(self, row: Row, best: float) -> npt.NDArray[np.intp]:
        """The tokens that top_k leaves, without those that are too unlikely to be drawn; at least one."""
        params = self.params
        gap = MAX_LOGIT_GAP
        # min_p may cut here only if no filter before it needs the total of all candidates.
        if params.min_p > 0 and params.top_p >= 1 and params.typical_p >= 1:
            gap = min(gap, -math.log(params.min_p) + 1e-3)
        least = best - gap * params.temperature
        k = params.top_k
        if 0 < k <= len(row) // GROUP:
            groups = row[: len(row) // GROUP * GROUP].reshape(GROUP, -1)
            # Each of k groups has a token at least as likely as this one, so k tokens have.
            least = max(least, float(np.partition(groups.max(axis=0), -k)[-k]))
        tokens = np.flatnonzero(row >= least)
        if 0 < k < len(tokens):
            tokens = np.sort(tokens[np.argpartition(-row[tokens], k - 1)[:k]])
        return tokens

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
