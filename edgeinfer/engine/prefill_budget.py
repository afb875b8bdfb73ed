"""Limits prefill chunks so that running answers keep their speed."""

from __future__ import annotations


class PrefillBudget:
    """Learns the cost of a decode step and of a prefill token from measured steps. All times are in ms."""

    MIN_CHUNK = 32
    """Shortest prefill chunk: below it the fixed cost of a step dominates."""

    SMOOTHING = 0.2
    """Weight of a new measurement in the running means."""

    def __init__(self, step_ms: float, max_chunk: int) -> None:
        self.step_ms = step_ms
        self.max_chunk = max_chunk
        self.decode_ms = 0.0
        self.token_ms = 0.0

    def chunk(self, num_decoding: int) -> int:
        """Prefill tokens for the next step, which also decodes `num_decoding` running answers."""
        if not num_decoding or not self.token_ms:
            return self.max_chunk if not num_decoding else min(self.max_chunk, 4 * self.MIN_CHUNK)
        affordable = (self.step_ms - self.decode_ms) / self.token_ms  # infinite for times of next to nothing
        return int(max(min(self.MIN_CHUNK, self.max_chunk), min(self.max_chunk, affordable)))

    def record(self, num_decoding: int, num_prefill: int, ms: float) -> None:
        """A step of `num_decoding` answers and `num_prefill` prompt tokens took `ms`."""
        if not num_prefill:
            self.decode_ms = self._mean(self.decode_ms, ms)
        elif num_prefill >= self.MIN_CHUNK:
            prefill_ms = max(ms - (self.decode_ms if num_decoding else 0.0), 0.1 * ms)
            self.token_ms = self._mean(self.token_ms, prefill_ms / num_prefill)

    def _mean(self, old: float, new: float) -> float:
        return new if not old else old + self.SMOOTHING * (new - old)
