"""The layout in which each slot has cells of its own: the fastest on a CPU, where a query reads its own stream only."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from edgeinfer.engine.backend import Backend
from edgeinfer.engine.kv_cache import KVCache, Slot


class StreamsCache(KVCache):
    """`ctx` cells for each slot. One slot more than may run, so that something idle is always kept."""

    MIN_COPY = 48
    """A shorter prefix is computed again: copying moves a stream's whole `ctx` cells."""

    def __init__(self, backend: Backend, slots: int, ctx: int) -> None:
        super().__init__(backend, slots, ctx, slots * ctx)

    @property
    def cells_used(self) -> int:
        return sum(len(s.tokens) for s in self.slots if s.running)

    @property
    def cells_cached(self) -> int:
        return sum(len(s.tokens) for s in self.slots if not s.running)

    def admit(self, tokens: Seq[int]) -> Slot | None:
        source, n = self._best(tokens)
        n = min(n, len(tokens) - 1)
        idle = self._idle(but=source)
        # An idle source is taken over where it stands, unless that cuts off more than it gains; it gains
        # more where the alternative is to compute the prefix again.
        gain = n if n >= self.MIN_COPY else 2 * n
        if not source.running and (not idle or len(source.tokens) - n <= gain):
            self.trim(source, n)
            return self._start(source, len(tokens))
        if not idle:
            return None
        target = idle[0]
        self.trim(target, 0)
        if n >= self.MIN_COPY:
            self._copy(source, target, n)
        return self._start(target, len(tokens))

    def reserve(self, slot: Slot, n: int) -> bool:
        return len(slot.tokens) + n <= self.ctx

    def compact(self) -> None:
        """llama.cpp computes sequences together only where their ids are neighbours: close the gaps.

        The idle content of a gap moves to an empty slot, for which the least recently used one gives way.
        """
        running = sorted(s.id for s in self.slots if s.running)
        while running and running[-1] - running[0] >= len(running):
            gaps = [i for i in range(running[0], running[-1]) if not self.slots[i].running]
            # The end that stands farther out moves to the gap nearest the others.
            if running[1] - running[0] > running[-1] - running[-2]:
                self._move(self.slots[running[0]], self.slots[gaps[-1]])
            else:
                self._move(self.slots[running[-1]], self.slots[gaps[0]])
            running = sorted(s.id for s in self.slots if s.running)

    def _copy(self, source: Slot, target: Slot, n: int) -> None:
        self.backend.copy(source.id, target.id)
        target.tokens = list(source.tokens)
        self.trim(target, n)

    def _move(self, source: Slot, target: Slot) -> None:
        """Swap what the engine knows as `source` to `target`'s id; Slot objects keep their content."""
        if target.tokens:
            refuge = self._idle()[0]
            if refuge is not target:
                self.trim(refuge, 0)
                self._swap_ids(target, refuge)
                target = refuge  # the empty slot now has the gap's id
            else:
                self.trim(target, 0)
        self._swap_ids(source, target)

    def _swap_ids(self, full: Slot, empty: Slot) -> None:
        """Let `full` live under `empty`'s id, and the other way round."""
        self.backend.copy(full.id, empty.id)
        self.backend.remove(full.id, 0)
        full.id, empty.id = empty.id, full.id
        self.slots[full.id], self.slots[empty.id] = full, empty
