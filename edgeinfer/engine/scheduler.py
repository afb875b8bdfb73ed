"""Decides which sequences run and what each step computes. It does nothing else: no I/O, clock or logging."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from edgeinfer.engine.kv_cache import KVCache, common_prefix
from edgeinfer.engine.sequence import Sequence


class ScheduledChunk(NamedTuple):
    """The next `num_tokens` of `sequence` to compute; `output`: its last logits are wanted."""

    sequence: Sequence
    num_tokens: int
    output: bool


class Scheduler:
    """Waiting and running sequences.

    Admission is in order of arrival, but a sequence waits while another one computes a prefix that both can
    share. A step takes every decoding sequence and then prefill chunks.
    """

    MIN_SHARED_PREFIX = 48
    """Length of a common prefix that is worth waiting for."""

    MAX_UNSPLIT_PREFILL = 64
    """A shorter remainder of a prompt is never split: its answer can start a step earlier."""

    OLDEST_EVERY = 4
    """Every fourth prefill chunk goes to the oldest prompt, the others to the one nearest its end."""

    def __init__(self, cache: KVCache, parallel: int) -> None:
        self.cache = cache
        self.parallel = parallel
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._num_chunks = 0

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def admit(self, now: float) -> None:
        """Move sequences from waiting to running while there is room."""
        for sequence in list(self.waiting):
            if len(self.running) >= self.parallel:
                return
            if self._should_wait_for_prefix(sequence):
                continue
            slot = self.cache.admit(sequence.tokens)
            if slot is None:
                return  # strictly in order: a small one must not starve a large one
            self.waiting.remove(sequence)
            sequence.admit(slot, now)
            self.running.append(sequence)

    def schedule(self, max_tokens: int, max_prefill: int) -> list[ScheduledChunk]:
        """Chunks for the next step: at most `max_tokens` tokens, about `max_prefill` of them prefill.

        Cells for every token are reserved in the cache; where they run short, the youngest sequences are
        preempted.
        """
        chunks: list[ScheduledChunk] = []
        left = max_tokens
        for sequence in [s for s in self.running if s.decoding]:
            n = min(sequence.num_schedulable, left)
            if n and self._reserve(sequence, n):
                chunks.append(ScheduledChunk(sequence, n, n == sequence.num_uncomputed))
                left -= n
        prefill_left = min(max_prefill, left)
        for sequence in self._prefill_order():
            if prefill_left <= 0:
                break
            wanted = sequence.num_schedulable
            n = wanted if wanted <= self.MAX_UNSPLIT_PREFILL else prefill_left
            n = min(n, wanted, max_tokens - sum(c.num_tokens for c in chunks))
            if self._reserve(sequence, n):
                chunks.append(ScheduledChunk(sequence, n, n == sequence.num_uncomputed))
                prefill_left -= n
        return [c for c in chunks if c.sequence.slot]  # some may have been preempted for later ones

    def finish(self, sequence: Sequence) -> None:
        """Remove a sequence, whether it runs or waits."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        sequence.finish(self.cache)

    def preempt(self, sequence: Sequence) -> None:
        """Put a running sequence back at the head of the queue."""
        self.running.remove(sequence)
        sequence.preempt(self.cache)
        self.waiting.appendleft(sequence)

    def _should_wait_for_prefix(self, sequence: Sequence) -> bool:
        """Another sequence is computing a prefix that this one can share."""
        for other in self.running:
            if other.decoding or other.num_uncomputed == 0:
                continue
            common = min(common_prefix(other.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if (
                common >= other.num_computed + self.MIN_SHARED_PREFIX
                and common >= self.cache.num_resident(sequence.tokens) + self.MIN_SHARED_PREFIX
            ):
                return True
        return False

    def _prefill_order(self) -> list[Sequence]:
        """The prompt nearest its end first, so that answers start early; in turn the oldest, so that all end."""
        prefills = [s for s in self.running if not s.decoding]
        self._num_chunks += bool(prefills)
        if self._num_chunks % self.OLDEST_EVERY == 0:
            return sorted(prefills, key=lambda s: s.order)
        return sorted(prefills, key=lambda s: (s.num_uncomputed, s.order))

    def _reserve(self, sequence: Sequence, n: int) -> bool:
        """Reserve `n` cells for a running sequence, preempting younger ones; False if it was itself preempted."""
        if sequence.slot is None:
            return False
        while not self.cache.reserve(sequence.slot, n):
            youngest = max(self.running, key=lambda s: s.order)
            self.preempt(youngest)
            if youngest is sequence:
                return False
        return True
