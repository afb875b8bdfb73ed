"""The pulse of a worker's engine, as the daemon feels it."""

from __future__ import annotations


class Heartbeat:
    """Counts how long an engine that was asked for a sign of life has been silent.

    It answers between two steps, and every step is a sign as well. A step may be long, so the limit grows with
    the longest that was seen. Silence is counted in ticks of ours and not by a clock: a daemon that was stopped
    or suspended along with its worker must not take that for a hang.
    """

    PERIOD = 5.0
    """Seconds between two ticks at most."""

    FACTOR = 10.0
    """Steps grow longer with the context: five times in what was measured."""

    def __init__(self, floor: float) -> None:
        self.period = min(self.PERIOD, floor / 4)
        self.silence = 0.0
        """Seconds without a sign of life that was asked for."""
        self._floor = floor
        self._slowest = 0.0
        self._asked = False

    @property
    def limit(self) -> float:
        """Seconds of silence that mean a hang."""
        return max(self._floor, self.FACTOR * self._slowest)

    @property
    def hung(self) -> bool:
        return self.silence > self.limit

    def tick(self) -> bool:
        """A period has passed; -> whether to ask for a sign of life now."""
        if self._asked:
            self.silence += self.period
            return False
        self._asked = True
        return True

    def heard(self, step_ms: float = 0.0) -> None:
        """The engine said something, after a step of `step_ms` if there was one."""
        self.silence = 0.0
        self._slowest = max(self._slowest, step_ms / 1e3)

    def answered(self) -> None:
        """It said that it goes round."""
        self._asked = False
        self.silence = 0.0
