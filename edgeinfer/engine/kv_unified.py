"""The KV-cache layout with one pool of cells for all slots: least memory, and sharing a prefix costs nothing."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np

from edgeinfer.engine.backend import Backend
from edgeinfer.engine.kv_cache import NOBODY, KVCache, Owner, Slot
from edgeinfer.engine.ram_cache import RamCache


class UnifiedCache(KVCache):
    """Manages one pool of reference-counted cells, because slots share prefixes."""

    MIN_GROWTH = 32
    """Tokens kept free for each running slot to grow before a new request is admitted: fewer preemptions."""

    def __init__(
        self, backend: Backend, slots: int, ctx: int, cells: int, ram_cache: RamCache | None = None
    ) -> None:
        super().__init__(backend, slots, ctx, cells, ram_cache)
        self._free = list(range(cells))
        self._references = np.zeros(cells, np.int32)
        self._pins = np.zeros(cells, np.int32)  # references from running slots
        self._pinned = 0

    @property
    def cells_used(self) -> int:
        return self._pinned

    @property
    def cells_cached(self) -> int:
        return self.cells - len(self._free) - self._pinned

    def _admit(self, tokens: Seq[int], domain: str, owner: Owner) -> Slot | None:
        source, n = self._longest_match(tokens, domain)
        n = min(n, len(tokens) - 1)
        if len(tokens) + 1 - n > self._num_available(source, n):
            return None
        idle = self._idle(owner, exclude=source)
        if idle:
            target = idle[0]
            self._evict(target)
            if n:
                self._share(source, target, n)
        elif source.running:
            return None
        else:
            target = source
            self._evict(target, n)
        return self._start(target, len(tokens), domain, owner)

    def reserve(self, slot: Slot, n: int) -> bool:
        if len(slot.tokens) + n > self.ctx:
            return False
        wanted = n + sum(s.promised for s in self.slots if s is not slot)
        idle = [s for s in self._idle(slot.owner) if s.tokens]
        while len(self._free) < wanted and idle:
            self._evict(idle.pop(0))
        if len(self._free) < wanted:
            return False
        slot.promised = n
        return True

    def commit(self, slot: Slot, tokens: Seq[int]) -> None:
        cells = [self._free.pop() for _ in tokens]
        self._references[cells] = 1
        slot.cells.extend(cells)
        self._pin(cells)
        super().commit(slot, tokens)

    def release(self, slot: Slot) -> None:
        self._unpin(slot.cells)
        super().release(slot)

    def trim(self, slot: Slot, n: int) -> None:
        super().trim(slot, n)
        dropped = slot.cells[len(slot.tokens) :]
        del slot.cells[len(slot.tokens) :]
        if slot.running:
            self._unpin(dropped)
        self._references[dropped] -= 1
        self._free.extend(c for c in dropped if self._references[c] == 0)

    def check_integrity(self) -> None:
        super().check_integrity()
        held = {c for s in self.slots for c in s.cells}
        pinned = {c for s in self.slots if s.running for c in s.cells}
        if len(held) + len(self._free) != self.cells or held & set(self._free) or len(pinned) != self._pinned:
            free = len(self._free)
            raise AssertionError(f"{self.cells} cells, {len(held)} held, {free} free, {self._pinned} pinned")

    def _has_room(self, n: int) -> bool:
        return n + 1 <= self._num_available()

    def _share(self, source: Slot, target: Slot, n: int) -> None:
        self.backend.copy(source.id, target.id, n)
        target.tokens = source.tokens[:n]
        target.cells = source.cells[:n]
        self._references[target.cells] += 1
        if self.backend.length(target.id) != n:  # a model whose sequences can only be copied whole
            self.trim(target, 0)

    def _num_available(self, source: Slot | None = None, n: int = 0) -> int:
        """Cells that a new request with the first `n` tokens of `source` could get without preempting another."""
        promised = 0
        for slot in self.slots:
            if slot.running:
                held = len(slot.tokens)
                promised += max(slot.reserved + 1 - held, min(self.MIN_GROWTH, self.ctx - held))
        shared = source.cells[:n] if source else []
        taken_over = int(np.count_nonzero(self._pins[shared] == 0))
        return self.cells - self._pinned - taken_over - promised

    def _start(self, slot: Slot, n_tokens: int, domain: str, owner: Owner = NOBODY) -> Slot:
        self._pin(slot.cells)
        return super()._start(slot, n_tokens, domain, owner)

    def _pin(self, cells: list[int]) -> None:
        self._pinned += int(np.count_nonzero(self._pins[cells] == 0))
        self._pins[cells] += 1

    def _unpin(self, cells: list[int]) -> None:
        self._pins[cells] -= 1
        self._pinned -= int(np.count_nonzero(self._pins[cells] == 0))
