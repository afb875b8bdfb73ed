"""How long a prefill chunk may be, so that running answers keep their pace."""

from __future__ import annotations


class PrefillBudget:
    """Learns from measured steps what a decode step and a prefill token cost; all times in ms."""

    SMALLEST = 32
    """A chunk is never shorter: below it the fixed cost of a step dominates."""

    WEIGHT = 0.2
    """Of a new measurement in the running mean."""

    def __init__(self, step_ms: float, longest: int) -> None:
        self.step_ms = step_ms
        self.longest = longest
        self.decode_ms = 0.0
        self.token_ms = 0.0

    def chunk(self, decoding: int) -> int:
        """Prefill tokens for the next step beside `decoding` running answers."""
        if not decoding or not self.token_ms:
            return self.longest if not decoding else min(self.longest, 4 * self.SMALLEST)
        fits = int((self.step_ms - self.decode_ms) / self.token_ms)
        return max(min(self.SMALLEST, self.longest), min(self.longest, fits))

    def measured(self, decoding: int, prefill: int, ms: float) -> None:
        """A step of `decoding` answers and `prefill` prompt tokens took `ms`."""
        if not prefill:
            self.decode_ms = self._mean(self.decode_ms, ms)
        elif prefill >= self.SMALLEST:
            spent = max(ms - (self.decode_ms if decoding else 0.0), 0.1 * ms)
            self.token_ms = self._mean(self.token_ms, spent / prefill)

    def _mean(self, old: float, new: float) -> float:
        return new if not old else old + self.WEIGHT * (new - old)
