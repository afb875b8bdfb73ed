"""Decides which answer in progress is copied to RAM next, so that another process could go on from there."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq

from edgeinfer.engine.kv_cache import KVCache
from edgeinfer.engine.sequence import Sequence


class Snapshots:
    """Copies one sequence at a time, the one that would take longest to compute again.

    A copy waits until the time since the last one is a multiple of what that took.
    """

    SHARE = 0.01
    """Share of the time that copies may take."""

    RESUMED_SHARE = 0.1
    """The same while an answer runs that was interrupted: what has crashed once may soon do so again."""

    MIN_STEPS = 4
    """Steps that a copy must spare. An answer's tokens may have to be computed again in as many steps as at first."""

    RESUMED_MIN_STEPS = 1
    """The same while an interrupted answer runs, so that short prompts are not computed again and again either."""

    SMOOTHING = 0.2
    """Weight of a new measurement in the running mean."""

    PROMPT_TOKENS = 32
    """Tokens of a prompt that are computed in about the time of a step."""

    def __init__(self, cache: KVCache, max_ms: float, clock: Callable[[], float]) -> None:
        """`max_ms`: a sequence that would take longer is not copied, as all answers wait meanwhile."""
        self._cache = cache
        self._max_ms = max_ms
        self._clock = clock
        self._ended = self._ms = self._ms_per_token = 0.0  # the last is a running mean

    def take(self, running: Seq[Sequence]) -> None:
        """Copy a sequence if it is time for that."""
        if not running or not self._cache.ram_cache.outlives:
            return
        resumed = any(s.is_resumed for s in running)
        share = self.RESUMED_SHARE if resumed else self.SHARE
        started = self._clock()
        if (started - self._ended) * 1e3 * share < self._ms:
            return
        sequence = max(running, key=self._spared_steps)
        min_steps = self.RESUMED_MIN_STEPS if resumed else self.MIN_STEPS
        if sequence.slot is None or self._spared_steps(sequence) < min_steps:
            return
        self._cache.snapshot(sequence.slot)
        self._ended = self._clock()
        ms_per_token = (self._ended - started) * 1e3 / sequence.num_computed
        # One that had to wait for the processor must not put off the next for long.
        self._ms_per_token += (ms_per_token - self._ms_per_token) * (self.SMOOTHING if self._ms else 1)
        self._ms = self._ms_per_token * sequence.num_computed

    def _spared_steps(self, sequence: Sequence) -> float:
        """Steps that a copy would spare another process beyond those that the last copy does."""
        slot, computed, prompt = sequence.slot, sequence.num_computed, sequence.num_prompt_tokens
        if slot is None or computed * self._ms_per_token > self._max_ms:
            return 0
        saved = self._cache.num_saved(slot)
        answer = max(0, computed - max(saved, prompt))
        return answer + max(0, min(computed, prompt) - saved) / self.PROMPT_TOKENS
