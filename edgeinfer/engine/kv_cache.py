"""Which tokens are resident in the backend's KV cache, and in which slot.

A slot is one of the backend's sequences. A running request owns a slot; when it ends, what it computed
stays until somebody needs the room, so that a later request with the same beginning need not compute it
again: every slot, running or idle, is an entry of the prefix index.

Two layouts, one interface. The engine does not know which it has:

- `StreamsCache`: each slot has `ctx` cells of its own. Sharing a prefix copies cells.
- `UnifiedCache`: one pool of cells for all slots. Sharing a prefix costs no cells and no time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Seq

import numpy as np

from edgeinfer.engine.backend import Backend
from edgeinfer.engine.config import EngineConfig


class Slot:
    """One of the backend's sequences. `tokens` are those whose cells are resident, in order."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.tokens: list[int] = []
        self.running = False
        self.last_used = 0
        self.reserved = 0  # tokens a running slot was admitted for
        self.cells: list[int] = []  # unified layout only: which cells hold `tokens`

    def __repr__(self) -> str:
        return f"<Slot {self.id} {'running' if self.running else 'idle'} {len(self.tokens)} tokens>"


def common_prefix(a: Seq[int], b: Seq[int]) -> int:
    """Length of the longest common prefix, by bisection over slice comparisons (which run in C)."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


class KVCache(ABC):
    """Slots, and the prefix index over them. Methods that change cells keep the backend in step."""

    def __init__(self, backend: Backend, slots: int, ctx: int, cells: int) -> None:
        self.backend = backend
        self.ctx = ctx
        self.cells = cells
        self.slots = [Slot(i) for i in range(slots)]
        self._clock = 0

    @property
    @abstractmethod
    def cells_used(self) -> int: ...

    @abstractmethod
    def admit(self, tokens: Seq[int]) -> Slot | None:
        """A running slot for a request of `tokens`, with the longest usable prefix resident; None: no room now.

        At least one token is left to compute, because its logits are wanted.
        """

    @abstractmethod
    def reserve(self, slot: Slot, n: int) -> bool:
        """Make room for `n` more tokens in a running slot, evicting idle ones; False if there is none."""

    def commit(self, slot: Slot, tokens: Seq[int]) -> None:
        """The backend has computed `tokens` in `slot`; room was reserved."""
        slot.tokens.extend(tokens)
        self._touch(slot)

    def release(self, slot: Slot) -> None:
        """A running slot's owner is done with it. Its tokens stay resident until the room is needed."""
        slot.running = False
        slot.reserved = 0
        self._touch(slot)

    def trim(self, slot: Slot, n: int) -> None:
        """Keep the first `n` tokens; none where the model can't drop a part of a sequence.

        Also drops cells that a failed decode left behind in the backend.
        """
        if not self.backend.remove(slot.id, n):
            n = 0
            self.backend.remove(slot.id, 0)
        del slot.tokens[n:]

    def compact(self) -> None:  # noqa: B027 -- a layout may have nothing to do
        """Move running slots to where decoding them together is fastest."""

    def resident(self, tokens: Seq[int]) -> int:
        """How many of the first `tokens` some slot holds."""
        return self._best(tokens)[1]

    def check_integrity(self) -> None:
        """Raise AssertionError where our books and the backend's differ. For idle moments and tests."""
        for slot in self.slots:
            length = self.backend.length(slot.id)
            if length != len(slot.tokens):
                raise AssertionError(f"{slot}: the backend has {length}")

    def _best(self, tokens: Seq[int]) -> tuple[Slot, int]:
        """The slot with the longest common prefix; of equals the last used."""
        lengths = ((s, common_prefix(s.tokens, tokens)) for s in self.slots)
        return max(lengths, key=lambda found: (found[1], found[0].last_used))

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock

    def _idle(self, but: Slot | None = None) -> list[Slot]:
        """Idle slots, empty ones first, then least recently used first."""
        idle = [s for s in self.slots if not s.running and s is not but]
        return sorted(idle, key=lambda s: (len(s.tokens) > 0, s.last_used))

    def _start(self, slot: Slot, n_tokens: int) -> Slot:
        slot.running = True
        slot.reserved = n_tokens
        self._touch(slot)
        return slot


class StreamsCache(KVCache):
    """`ctx` cells for each slot. One slot more than may run, so that something idle is always kept."""

    MIN_COPY = 48
    """A shorter prefix is computed again: copying moves a stream's whole `ctx` cells."""

    def __init__(self, backend: Backend, parallel: int, ctx: int) -> None:
        super().__init__(backend, parallel + 1, ctx, (parallel + 1) * ctx)

    @property
    def cells_used(self) -> int:
        return sum(len(s.tokens) for s in self.slots)

    def admit(self, tokens: Seq[int]) -> Slot | None:
        source, n = self._best(tokens)
        n = min(n, len(tokens) - 1)
        idle = self._idle(but=source)
        # An idle source is taken over where it stands, unless that would cut off most of what it holds.
        in_place = not source.running and (not idle or 2 * n >= len(source.tokens))
        if in_place:
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
            gap = next(i for i in range(running[0], running[-1]) if not self.slots[i].running)
            # Move the end that stands farther out.
            low, high = running[1] - running[0], running[-1] - running[-2]
            outlier = self.slots[running[0] if low > high else running[-1]]
            self._move(outlier, self.slots[gap])
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


class UnifiedCache(KVCache):
    """One pool of cells. Cells are counted by reference, as prefixes are shared between slots."""

    GROWTH = 32
    """Tokens a running slot is sure to grow by before a new request may have the room: fewer preemptions."""

    def __init__(self, backend: Backend, slots: int, ctx: int, cells: int) -> None:
        super().__init__(backend, slots, ctx, cells)
        self._free = list(range(cells))
        self._references = np.zeros(cells, np.int32)

    @property
    def cells_used(self) -> int:
        return self.cells - len(self._free)

    def admit(self, tokens: Seq[int]) -> Slot | None:
        source, n = self._best(tokens)
        n = min(n, len(tokens) - 1)
        if len(tokens) + 1 - n > self._available(source, n):
            return None
        idle = self._idle(but=source)
        if idle:
            target = idle[0]
            self.trim(target, 0)
            if n:
                self._share(source, target, n)
        elif source.running:
            return None
        else:
            target = source
            self.trim(target, n)
        self._start(target, len(tokens))
        self.reserve(target, len(tokens) + 1 - len(target.tokens))
        return target

    def reserve(self, slot: Slot, n: int) -> bool:
        if len(slot.tokens) + n > self.ctx:
            return False
        idle = [s for s in self._idle() if s.tokens]
        while len(self._free) < n and idle:
            self.trim(idle.pop(0), 0)
        return len(self._free) >= n

    def commit(self, slot: Slot, tokens: Seq[int]) -> None:
        cells = [self._free.pop() for _ in tokens]
        self._references[cells] = 1
        slot.cells.extend(cells)
        super().commit(slot, tokens)

    def trim(self, slot: Slot, n: int) -> None:
        super().trim(slot, n)
        dropped = slot.cells[len(slot.tokens) :]
        del slot.cells[len(slot.tokens) :]
        self._references[dropped] -= 1
        self._free.extend(c for c in dropped if self._references[c] == 0)

    def check_integrity(self) -> None:
        super().check_integrity()
        held = {c for s in self.slots for c in s.cells}
        if len(held) + len(self._free) != self.cells or held & set(self._free):
            raise AssertionError(f"{self.cells} cells, {len(held)} held, {len(self._free)} free")

    def _share(self, source: Slot, target: Slot, n: int) -> None:
        self.backend.copy(source.id, target.id, n)
        target.tokens = source.tokens[:n]
        target.cells = source.cells[:n]
        self._references[target.cells] += 1
        if self.backend.length(target.id) != n:  # a model whose sequences can only be copied whole
            self.trim(target, 0)

    def _available(self, source: Slot, n: int) -> int:
        """Cells that a new request taking over `n` of `source` could get without touching a running one."""
        pinned = np.zeros(self.cells, bool)
        promised = 0
        for slot in self.slots:
            if slot.running:
                pinned[slot.cells] = True
                held = len(slot.tokens)
                promised += max(slot.reserved + 1 - held, min(self.GROWTH, self.ctx - held))
        pinned[source.cells[:n]] = True
        return self.cells - int(pinned.sum()) - promised


def make_cache(backend: Backend, config: EngineConfig) -> KVCache:
    """The cache that `config` asks for, over a backend that was given as many sequences (`n_slots`)."""
    if config.layout == "streams":
        return StreamsCache(backend, config.parallel, config.ctx)
    return UnifiedCache(backend, n_slots(config), config.ctx, config.cells)


def n_slots(config: EngineConfig) -> int:
    """How many sequences the backend must have for `config`."""
    if config.layout == "streams":
        return config.parallel + 1
    return min(256, max(16, 4 * config.parallel))
