"""The time that a decode takes, by the number of tokens in it."""

from __future__ import annotations

from bisect import bisect_left, insort

SMOOTHING = 0.2
"""Weight of a new measurement in the running means."""

ROW = 0.1
"""Share of a token's time that each further one is taken to need, until it is measured: weights are read once for all."""

MEMORY = 1000
"""Steps after which a measurement is forgotten.

What has become too slow to pay, as while other programs need the cores, is not done and so not measured again.
"""


class StepCosts:
    """Learns the cost of a step from measured ones. All times are in ms."""

    def __init__(self) -> None:
        self._ms: dict[int, float] = {}
        self._measured: list[int] = []
        self._steps = 0
        self._last: dict[int, int] = {}  # number of tokens -> the step it was measured in, oldest first

    def record(self, rows: int, ms: float) -> None:
        """A decode of `rows` tokens took `ms`."""
        self._steps += 1
        self._last.pop(rows, None)
        self._last[rows] = self._steps
        if rows in self._ms:
            self._ms[rows] += SMOOTHING * (ms - self._ms[rows])
        else:
            self._ms[rows] = ms
            insort(self._measured, rows)
        oldest = next(iter(self._last))
        if self._steps - self._last[oldest] > MEMORY:
            self._forget(oldest)

    def ms(self, rows: int) -> float:
        """The time of a decode of `rows` tokens: measured, between two measured ones, or guessed; 0 before any."""
        if not self._measured:
            return 0.0
        at = bisect_left(self._measured, rows)
        if at == len(self._measured):
            most = self._measured[-1]
            return self._ms[most] * (1 + ROW * (rows - most) / (1 + ROW * (most - 1)))
        above = self._measured[at]
        if above == rows or at == 0:
            return self._ms[above]
        below = self._measured[at - 1]
        share = (rows - below) / (above - below)
        return self._ms[below] + share * (self._ms[above] - self._ms[below])

    def _forget(self, rows: int) -> None:
        del self._ms[rows], self._last[rows]
        self._measured.remove(rows)
