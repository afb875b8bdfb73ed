"""The KV-cache layout with separate cells for each slot, the fastest on a CPU: a query reads its own stream only."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from edgeinfer.engine.backend import Backend
from edgeinfer.engine.kv_cache import KVCache, Owner, Slot, is_other_session
from edgeinfer.engine.ram_cache import RamCache


class StreamsCache(KVCache):
    """Gives each slot `ctx` cells. There is one slot more than may run, so an idle one is always kept."""

    MIN_COPY = 48
    """A shorter prefix is computed again: a copy may move a stream's whole `ctx` cells."""

    def __init__(self, backend: Backend, slots: int, ctx: int, ram_cache: RamCache | None = None) -> None:
        super().__init__(backend, slots, ctx, slots * ctx, ram_cache)

    @property
    def cells_used(self) -> int:
        return sum(len(s.tokens) for s in self.slots if s.running)

    @property
    def cells_cached(self) -> int:
        return sum(len(s.tokens) for s in self.slots if not s.running)

    def _admit(self, tokens: Seq[int], domain: str, owner: Owner) -> Slot | None:
        source, n = self._longest_match(tokens, domain)
        n = min(n, len(tokens) - 1)
        idle = self._idle(owner, exclude=source)
        # An idle source is taken over in place, unless that cuts off more than it gains. It gains more where the
        # alternative is to compute the prefix again.
        gain = n if n >= self.MIN_COPY else 2 * n
        if is_other_session(source, owner):
            gain = 0
        if not source.running and (not idle or len(source.tokens) - n <= gain):
            self._evict(source, n)
            return self._start(source, len(tokens), domain, owner)
        if not idle:
            return None
        target = idle[0]
        self._evict(target)
        if n >= self.MIN_COPY:
            self._copy(source, target, n)
        return self._start(target, len(tokens), domain, owner)

    def reserve(self, slot: Slot, n: int) -> bool:
        return len(slot.tokens) + n <= self.ctx

    def _has_room(self, n: int) -> bool:
        return n <= self.ctx

    def compact(self) -> None:
        """Close gaps between running slots: llama.cpp computes only sequences with neighbouring ids together.

        The idle content of a gap moves to an empty slot; the least recently used slot is emptied for it.
        """
        running = sorted(s.id for s in self.slots if s.running)
        while running and running[-1] - running[0] >= len(running):
            gaps = [i for i in range(running[0], running[-1]) if not self.slots[i].running]
            # The outermost slot on the sparser side moves to the gap nearest the others.
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
        """Move `source` to `target`'s id; Slot objects keep their content."""
        if target.tokens:
            spare = self._idle(source.owner)[0]
            if spare is not target:
                self._evict(spare)
                self._swap_ids(target, spare)
                target = spare  # the spare slot is empty, and now has the gap's id
            else:
                self._evict(target)
        self._swap_ids(source, target)

    def _swap_ids(self, full: Slot, empty: Slot) -> None:
        """Exchange the ids of `full` and `empty`."""
        self.backend.copy(full.id, empty.id)
        self.backend.remove(full.id, 0)
        full.id, empty.id = empty.id, full.id
        self.slots[full.id], self.slots[empty.id] = full, empty
