"""Tracks which tokens are resident in the backend's KV cache, and in which slot.

A slot is one of the backend's sequences. A running request owns a slot. When it ends, its cells stay until their
space is needed, so that a later request with the same prefix need not compute it again: every slot, running
or idle, is an entry of the prefix index.

There are two layouts behind one interface; the engine does not know which one it uses:

- `kv_streams.py`: each slot has `ctx` cells of its own. Sharing a prefix copies cells.
- `kv_unified.py`: one pool of cells for all slots. Sharing a prefix costs no cells and no time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Seq
from typing import NamedTuple

from edgeinfer.engine.backend import Backend


class Owner(NamedTuple):
    """Whose request the tokens in a slot are from. `session`: one of the caller's, or "" for a request by itself."""

    caller: str = ""
    session: str = ""


NOBODY = Owner()


class Slot:
    """One of the backend's sequences.

    Attributes:
        tokens: those whose cells are resident, in order.
        domain: only prompts of the same cache domain may use them.
        owner: whose request they are from.
        reserved: tokens that a running slot was admitted with.
        promised: cells that the next step may use.
        cells: in the unified layout, the cells that hold `tokens`.
    """

    def __init__(self, id: int) -> None:
        self.id = id
        self.tokens: list[int] = []
        self.domain = ""
        self.owner = Owner()
        self.running = False
        self.last_used = 0
        self.reserved = 0
        self.promised = 0
        self.cells: list[int] = []

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
    """The slots and the prefix index over them. Methods that change cells also change the backend's."""

    def __init__(self, backend: Backend, slots: int, ctx: int, cells: int) -> None:
        self.backend = backend
        self.ctx = ctx
        self.cells = cells
        self.slots = [Slot(i) for i in range(slots)]
        self._clock = 0

    @property
    @abstractmethod
    def cells_used(self) -> int:
        """Cells that running slots hold."""

    @property
    @abstractmethod
    def cells_cached(self) -> int:
        """Cells that only idle slots hold; they can be evicted."""

    @abstractmethod
    def admit(self, tokens: Seq[int], domain: str = "", owner: Owner = NOBODY) -> Slot | None:
        """A running slot for a request of `tokens`, holding its longest usable prefix; None if there is no room now.

        What is evicted for it was used least recently; of what is left by the owner's own requests, that of other
        sessions comes last. Only the prefixes of one's own domain are usable: whether one was there can be told by its time.

        At least one token is left to compute, because its logits are needed.
        """

    @abstractmethod
    def reserve(self, slot: Slot, n: int) -> bool:
        """Promise cells for `n` more tokens to a running slot, evicting idle slots; False if there are too few.

        A promise adds to those of other slots until its tokens are committed, or the slot is trimmed, released or
        promised again.
        """

    def commit(self, slot: Slot, tokens: Seq[int]) -> None:
        """Record that the backend has computed `tokens` in `slot`, in reserved cells."""
        slot.tokens.extend(tokens)
        slot.promised = 0
        self._touch(slot)

    def release(self, slot: Slot) -> None:
        """Make a running slot idle. Its tokens stay resident until their cells are needed."""
        slot.running = False
        slot.reserved = slot.promised = 0
        self._touch(slot)

    def trim(self, slot: Slot, n: int) -> None:
        """Keep the first `n` tokens, or none if the model cannot drop a part of a sequence.

        This also drops cells that a failed decode left behind in the backend.
        """
        slot.promised = 0
        if not self.backend.remove(slot.id, n):
            n = 0
            self.backend.remove(slot.id, 0)
        del slot.tokens[n:]

    def resident_slots(self) -> list[Slot]:
        """Slots that hold tokens, most recently used first."""
        return sorted((s for s in self.slots if s.tokens), key=lambda s: -s.last_used)

    def restore(self, tokens: Seq[int], data: bytes, domain: str = "") -> bool:
        """Load the saved cells of `tokens` into an empty slot; False if there is no such slot or no room."""
        slot = next((s for s in self.slots if not s.running and not s.tokens), None)
        if slot is None:
            return False
        self._start(slot, len(tokens), domain)
        # It evicts nothing: the resident slots were used more recently.
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

    def num_resident(self, tokens: Seq[int], domain: str = "") -> int:
        """Length of the longest prefix of `tokens` that a slot of the domain holds."""
        return self._longest_match(tokens, domain)[1]

    def check_integrity(self) -> None:
        """Raise AssertionError if this record and the backend's cells differ. For idle moments and tests."""
        for slot in self.slots:
            length = self.backend.length(slot.id)
            if length != len(slot.tokens):
                raise AssertionError(f"{slot}: the backend has {length} tokens")

    def _longest_match(self, tokens: Seq[int], domain: str) -> tuple[Slot, int]:
        """The slot with the longest common prefix, and its length; of equal ones the most recently used."""
        matches = ((s, common_prefix(s.tokens, tokens) if s.domain == domain else 0) for s in self.slots)
        return max(matches, key=lambda match: (match[1], match[0].last_used))

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock

    def _idle(self, owner: Owner, exclude: Slot | None = None) -> list[Slot]:
        """Idle slots in the order in which they may be evicted for a request of `owner`.

        Empty ones are first, then the least recently used. Among the slots of the owner's caller those of its other
        sessions are last; the places of other callers' slots do not change by that.
        """
        idle = [s for s in self.slots if not s.running and s is not exclude]
        idle.sort(key=lambda s: (len(s.tokens) > 0, s.last_used))
        own = iter(
            sorted((s for s in idle if _is_left_by(s, owner)), key=lambda s: is_other_session(s, owner))
        )
        return [next(own) if _is_left_by(s, owner) else s for s in idle]

    def _start(self, slot: Slot, n_tokens: int, domain: str, owner: Owner = NOBODY) -> Slot:
        slot.running = True
        slot.domain = domain
        slot.owner = owner
        slot.reserved = n_tokens
        self._touch(slot)
        return slot


def _is_left_by(slot: Slot, owner: Owner) -> bool:
    """An earlier request of the owner's caller has left tokens in the slot."""
    return bool(slot.tokens) and slot.owner.caller == owner.caller


def is_other_session(slot: Slot, owner: Owner) -> bool:
    """The slot has the prefix of another session of the owner's caller."""
    return _is_left_by(slot, owner) and slot.owner.session not in ("", owner.session)
