"""Who runs, and what each step computes. It decides and does nothing else: no I/O, no clock, no logging."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from edgeinfer.engine.kv_cache import KVCache, common_prefix
from edgeinfer.engine.sequence import Sequence


class ScheduledChunk(NamedTuple):
    """Compute the next `n_tokens` of `sequence`; `output` when that is all that was missing."""

    sequence: Sequence
    n_tokens: int
    output: bool


class Scheduler:
    """Waiting and running sequences.

    Admission is in order of arrival, but a sequence waits while another computes a prefix that it can
    share. A step takes every decoding sequence and then prefill chunks.
    """

    SHARE = 48
    """Tokens of a common prefix that are worth waiting for."""

    WHOLE = 64
    """A prompt is not cut for the sake of so few tokens: its answer can start a step earlier."""

    OLDEST_EVERY = 4
    """Of so many prefill chunks one goes to the oldest prompt, the others to the one nearest its end."""

    def __init__(self, cache: KVCache, parallel: int) -> None:
        self.cache = cache
        self.parallel = parallel
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._chunks = 0

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def admit(self, now: float) -> None:
        """Move sequences from waiting to running as far as there is room."""
        for sequence in list(self.waiting):
            if len(self.running) >= self.parallel:
                return
            if self._better_later(sequence):
                continue
            slot = self.cache.admit(sequence.tokens)
            if slot is None:
                return  # strictly in order: a small one must not starve a large one
            self.waiting.remove(sequence)
            sequence.admit(slot, now)
            self.running.append(sequence)

    def schedule(self, batch_size: int, chunk: int) -> list[ScheduledChunk]:
        """What the next step computes: at most `batch_size` tokens, about `chunk` of them prefill.

        Room for every token is reserved in the cache; the youngest sequences are preempted where that
        takes it.
        """
        work: list[ScheduledChunk] = []
        left = batch_size
        for sequence in [s for s in self.running if s.decoding]:
            n = min(sequence.num_schedulable, left)
            if n and self._make_room(sequence, n):
                work.append(ScheduledChunk(sequence, n, n == sequence.num_uncomputed))
                left -= n
        room = min(chunk, left)
        for sequence in self._prefill_order():
            if room <= 0:
                break
            n = sequence.num_schedulable if sequence.num_schedulable <= self.WHOLE else room
            n = min(n, sequence.num_schedulable, batch_size - sum(w.n_tokens for w in work))
            if self._make_room(sequence, n):
                work.append(ScheduledChunk(sequence, n, n == sequence.num_uncomputed))
                room -= n
        return [w for w in work if w.sequence.slot]  # some may have been preempted for others

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        sequence.finish(self.cache)

    def preempt(self, sequence: Sequence) -> None:
        """Back to the head of the queue."""
        self.running.remove(sequence)
        sequence.preempt(self.cache)
        self.waiting.appendleft(sequence)

    def _better_later(self, sequence: Sequence) -> bool:
        """Is somebody else computing a prefix of it right now?"""
        for other in self.running:
            if other.decoding or other.num_uncomputed == 0:
                continue
            common = min(common_prefix(other.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if (
                common >= other.num_computed + self.SHARE
                and common >= self.cache.resident(sequence.tokens) + self.SHARE
            ):
                return True
        return False

    def _prefill_order(self) -> list[Sequence]:
        """The prompt nearest its end first, so that answers start early; in turn the oldest, so that all end."""
        prefills = [s for s in self.running if not s.decoding]
        self._chunks += bool(prefills)
        if self._chunks % self.OLDEST_EVERY == 0:
            return sorted(prefills, key=lambda s: s.order)
        return sorted(prefills, key=lambda s: (s.num_uncomputed, s.order))

    def _make_room(self, sequence: Sequence, n: int) -> bool:
        """Reserve cells for `n` tokens of a running sequence, preempting younger ones; False: it was preempted."""
        if sequence.slot is None:
            return False
        while not self.cache.reserve(sequence.slot, n):
            youngest = max(self.running, key=lambda s: s.order)
            self.preempt(youngest)
            if youngest is sequence:
                return False
        return True
