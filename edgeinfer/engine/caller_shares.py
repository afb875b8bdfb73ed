"""Counts the work that the engine has done for each caller."""

from __future__ import annotations

PROMPT_WEIGHT = 0.25
"""Work of a prompt's token, where that of an answer's is 1: many prompt tokens are computed together."""


class CallerShares:
    """Virtual token counters: the caller with the least work is served next (Sheng et al. 2024).

    A caller that asks is at most MAX_LAG behind the one that has had most. So idle time earns the head start of a short
    answer, and no more; waiting earns a turn.
    """

    MAX_LAG = 128.0

    MAX_CALLERS = 1024
    """Counters that are kept before those that say nothing any more are dropped."""

    def __init__(self) -> None:
        self._work: dict[str, float] = {}
        self._most = 0.0

    def enter(self, caller: str) -> None:
        """Record that a request of `caller` has arrived."""
        least = self._least
        if len(self._work) >= self.MAX_CALLERS:
            self._work = {known: done for known, done in self._work.items() if done > least}
        self._work[caller] = max(self.work(caller), least)

    def work(self, caller: str) -> float:
        """Work done for `caller`, on a scale that only compares callers."""
        return self._work.get(caller, self._least)

    def add(self, caller: str, num_tokens: int, *, prompt: bool) -> None:
        """Record that tokens were computed for `caller`."""
        work = self.work(caller) + num_tokens * (PROMPT_WEIGHT if prompt else 1.0)
        self._work[caller] = work
        self._most = max(self._most, work)

    @property
    def _least(self) -> float:
        return self._most - self.MAX_LAG if self._work else self._most
