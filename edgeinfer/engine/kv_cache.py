"""Which tokens are resident in the backend's KV cache, and in which slot.

A slot is one of the backend's sequences. A running request owns a slot; when it ends, what it computed
stays until somebody needs the room, so that a later request with the same beginning need not compute it
again: every slot, running or idle, is an entry of the prefix index.

Two layouts, one interface. The engine does not know which it has:

- `kv_streams.py`: each slot has `ctx` cells of its own. Sharing a prefix copies cells.
- `kv_unified.py`: one pool of cells for all slots. Sharing a prefix costs no cells and no time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Seq

from edgeinfer.engine.backend import Backend


class Slot:
    """One of the backend's sequences. `tokens` are those whose cells are resident, in order."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.tokens: list[int] = []
        self.running = False
        self.last_used = 0
        self.reserved = 0  # tokens a running slot was admitted for
        self.promised = 0  # of them, those that the next step may add
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
    def cells_used(self) -> int:
        """Cells that running slots hold; what idle ones hold beside them can be had."""

    @property
    @abstractmethod
    def cells_cached(self) -> int:
        """Cells that only idle slots hold."""

    @abstractmethod
    def admit(self, tokens: Seq[int]) -> Slot | None:
        """A running slot for a request of `tokens`, with the longest usable prefix resident; None: no room now.

        At least one token is left to compute, because its logits are wanted.
        """

    @abstractmethod
    def reserve(self, slot: Slot, n: int) -> bool:
        """Promise a running slot room for `n` more tokens, evicting idle ones; False if there is none.

        A promise stands beside those to other slots until its tokens are committed, or the slot is trimmed,
        released or promised anew.
        """

    def commit(self, slot: Slot, tokens: Seq[int]) -> None:
        """The backend has computed `tokens` in `slot`; room was reserved."""
        slot.tokens.extend(tokens)
        slot.promised = 0
        self._touch(slot)

    def release(self, slot: Slot) -> None:
        """A running slot's owner is done with it. Its tokens stay resident until the room is needed."""
        slot.running = False
        slot.reserved = slot.promised = 0
        self._touch(slot)

    def trim(self, slot: Slot, n: int) -> None:
        """Keep the first `n` tokens; none where the model can't drop a part of a sequence.

        Also drops cells that a failed decode left behind in the backend.
        """
        slot.promised = 0
        if not self.backend.remove(slot.id, n):
            n = 0
            self.backend.remove(slot.id, 0)
        del slot.tokens[n:]

    def kept(self) -> list[Slot]:
        """Slots that hold something, last used first."""
        return sorted((s for s in self.slots if s.tokens), key=lambda s: -s.last_used)

    def restore(self, tokens: Seq[int], data: bytes) -> bool:
        """Put what the backend saved of `tokens` into an empty slot; False if there is none, or no room."""
        slot = next((s for s in self.slots if not s.running and not s.tokens), None)
        if slot is None:
            return False
        self._start(slot, len(tokens))
        # Nothing gives way for it: whatever is there already was used later.
        fits = self.cells_used + self.cells_cached + len(tokens) <= self.cells and self.reserve(
            slot, len(tokens)
        )
        restored = fits and self.backend.restore(slot.id, data)
        if restored and self.backend.length(slot.id) == len(tokens):
            self.commit(slot, tokens)
        else:
            self.backend.remove(slot.id, 0)
            restored = False
        self.release(slot)
        return restored

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
