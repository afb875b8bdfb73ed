"""Measures how long a worker's engine has been silent."""

from __future__ import annotations


class Heartbeat:
    """Decides when an engine that does not answer pings has hung.

    The engine answers between two steps, and every step is a sign of life as well. A step may be long, so the limit
    grows with the longest step so far. Silence is counted in ticks of ours and not by a clock: a daemon that was
    stopped or suspended along with its worker must not take that for a hang.
    """

    MAX_PERIOD = 5.0
    """Seconds between two ticks."""

    STEP_FACTOR = 10.0
    """Steps grow longer with the context: five times in measurements."""

    def __init__(self, min_limit: float) -> None:
        self.period = min(self.MAX_PERIOD, min_limit / 4)
        self.silence = 0.0
        """Seconds since the oldest unanswered ping, or since the last sign of life after it."""
        self._min_limit = min_limit
        self._longest_step = 0.0
        self._pinged = False

    @property
    def limit(self) -> float:
        """Seconds of silence that mean a hang."""
        return max(self._min_limit, self.STEP_FACTOR * self._longest_step)

    @property
    def hung(self) -> bool:
        return self.silence > self.limit

    def tick(self) -> bool:
        """Count a period that has passed; -> True if a ping is to be sent now."""
        if self._pinged:
            self.silence += self.period
            return False
        self._pinged = True
        return True

    def on_step(self, step_ms: float = 0.0) -> None:
        """The engine sent something, after a step of `step_ms` if there was one."""
        self.silence = 0.0
        self._longest_step = max(self._longest_step, step_ms / 1e3)

    def on_pong(self) -> None:
        """The engine loop answered the ping."""
        self._pinged = False
        self.silence = 0.0
