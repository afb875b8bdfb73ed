"""Tracks which tokens are resident in the backend's KV cache, and in which slot.

A slot is one of the backend's sequences. A running request owns a slot. When it ends, its cells stay until their
space is needed, so that a later request with the same prefix need not compute it again: every slot, running
or idle, is an entry of the prefix index.

There are two layouts behind one interface; the engine does not know which one it uses:

- `kv_streams.py`: each slot has `ctx` cells of its own. Sharing a prefix copies cells.
- `kv_unified.py`: one pool of cells for all slots. Sharing a prefix costs no cells and no time.

Below them is a `RamCache`, to which what is evicted is copied, and from which it comes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Seq
from typing import NamedTuple

from edgeinfer.engine.backend import Backend, SavedState
from edgeinfer.engine.common_prefix import common_prefix
from edgeinfer.engine.ram_cache import RamCache, RamCacheEntry


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
        prompt: tokens that the last request in the slot was admitted with; those after them are its answer.
        promised: cells that the next step may use.
        snapshot: the last copy in RAM of the answer in progress.
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
        self.prompt = 0
        self.promised = 0
        self.snapshot: RamCacheEntry | None = None
        self.cells: list[int] = []

    def __repr__(self) -> str:
        return f"<Slot {self.id} {'running' if self.running else 'idle'} {len(self.tokens)} tokens>"


class KVCache(ABC):
    """The slots and the prefix index over them. Methods that change cells also change the backend's.

    Attributes:
        keeps_prefixes: what a request leaves may be used by later ones. Else every prompt is computed from its start.
    """

    keeps_prefixes = True

    MAX_OPENING = 4
    """Tokens at the end of a prompt that the conversation's next one may lack, such as `<think>` and line breaks."""

    def __init__(
        self, backend: Backend, slots: int, ctx: int, cells: int, ram_cache: RamCache | None = None
    ) -> None:
        """`ram_cache`: takes what is evicted; None drops it."""
        self.backend = backend
        self.ram_cache = ram_cache or RamCache(backend, 0)
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

    def admit(
        self, tokens: Seq[int], domain: str = "", owner: Owner = NOBODY, *, resumed: bool = False
    ) -> Slot | None:
        """A running slot for a request of `tokens`, holding its longest usable prefix; None if there is no room now.

        What is evicted for it was used least recently; of what is left by the owner's own requests, that of other
        sessions comes last. Only the prefixes of one's own domain are usable: whether one was there can be told by its time.

        If RAM has a much longer prefix than any slot, it is copied to an idle slot first; for an answer that is `resumed`
        any longer one will do. At least one token is left to compute, because its logits are needed.
        """
        if not self.keeps_prefixes:
            for idle in self.slots:
                if idle.tokens and not idle.running:
                    self.trim(idle, 0)
        snapshot = None
        if self.ram_cache.enabled and (resumed or self.keeps_prefixes):
            snapshot = self._bring_back(tokens, domain, owner, resumed=resumed)
        slot = self._admit(tokens, domain, owner)
        if slot:
            slot.snapshot = snapshot
        return slot

    @abstractmethod
    def _admit(self, tokens: Seq[int], domain: str, owner: Owner) -> Slot | None:
        """Admit with what is resident."""

    @abstractmethod
    def _has_room(self, n: int) -> bool:
        """There is room for a request of `n` tokens that shares no cells."""

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
        if slot.snapshot:
            if self.keeps_prefixes:
                self.ram_cache.end_snapshot(slot.snapshot)
            else:
                self.ram_cache.drop(slot.snapshot)
            slot.snapshot = None
        self._touch(slot)

    def snapshot(self, slot: Slot) -> None:
        """Copy what a running slot holds to RAM."""
        before = slot.snapshot
        slot.snapshot = self.ram_cache.snapshot(slot.id, slot.tokens, slot.domain, before) or before

    def num_saved(self, slot: Slot) -> int:
        """Tokens of a running slot that are in its last copy."""
        held = slot.snapshot is not None and slot.snapshot in self.ram_cache
        return len(slot.snapshot.tokens) if slot.snapshot and held else 0

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

    def restore(self, tokens: Seq[int], data: SavedState, domain: str = "") -> bool:
        """Load the saved cells of `tokens` into an empty slot, or keep them in RAM; False if there is no room in either."""
        if not self.keeps_prefixes:
            return False
        slot = next((s for s in self.slots if not s.running and not s.tokens), None)
        # It evicts nothing: the resident slots were used more recently.
        fits = self.cells_used + self.cells_cached + len(tokens) <= self.cells
        if slot is None or not fits:
            return self.ram_cache.add(list(tokens), data, domain)
        return self._load(slot, tokens, data, domain)

    def clear(self) -> None:
        """Drop all cells, also those in RAM, and overwrite the backend's. No slot may be running."""
        for slot in self.slots:
            self.trim(slot, 0)
        self.backend.clear()
        self.ram_cache.clear()

    def compact(self) -> None:  # noqa: B027 -- a layout may have nothing to do
        """Move running slots to where decoding them together is fastest."""

    def num_resident(self, tokens: Seq[int], domain: str = "") -> int:
        """Length of the longest prefix of `tokens` that the domain has in a slot, or in RAM."""
        return max(self._longest_match(tokens, domain)[1], self.ram_cache.longest(tokens, domain)[1])

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

    def _bring_back(
        self, tokens: Seq[int], domain: str, owner: Owner, *, resumed: bool
    ) -> RamCacheEntry | None:
        """Copy the longest prefix of `tokens` from RAM to an idle slot, if it is much longer than any resident one.

        Returns the entry from which a resumed answer goes on.
        """
        entry, n = self.ram_cache.longest(tokens[:-1], domain)
        spared = n - self._longest_match(tokens[:-1], domain)[1]
        if entry is None or spared < (1 if resumed else RamCache.MIN_TOKENS):
            return None
        if not self.keeps_prefixes and n < len(entry.tokens):  # another answer's
            return None
        idle = self._idle(owner)
        if not idle or not self._has_room(max(len(tokens), len(entry.tokens))):
            return None
        self.ram_cache.touch(entry)  # so that what is evicted now does not take its place
        self._evict(idle[0])
        with self.ram_cache.loading(entry) as data:
            loaded = data is not None and self._load(idle[0], entry.tokens, data, domain)
        if not loaded:
            self.ram_cache.on_failed(entry)
            return None
        self.trim(idle[0], n)
        if resumed:
            self.ram_cache.on_resumed(entry, spared)
            return entry
        self.ram_cache.on_restored(entry, n, spared)
        return None

    def _load(self, slot: Slot, tokens: Seq[int], data: SavedState, domain: str) -> bool:
        """Load the saved cells of `tokens` into an idle slot that is empty; False leaves it empty."""
        self._start(slot, len(tokens), domain)
        loaded = self.reserve(slot, len(tokens)) and self.backend.restore(slot.id, data)
        if loaded and self.backend.length(slot.id) == len(tokens):
            self.commit(slot, tokens)
        else:
            self.backend.remove(slot.id, 0)
            loaded = False
        self.release(slot)
        return loaded

    def _evict(self, slot: Slot, n: int = 0) -> None:
        """Keep the first `n` tokens of an idle slot; before the others are dropped, they are saved in RAM if that pays."""
        if self.ram_cache.enabled and slot.tokens:
            others = [s.tokens for s in self.slots if s is not slot and s.domain == slot.domain]
            kept = max([n, *(self.ram_cache.usable(other, slot.tokens) for other in others)])
            # If its last prompt is kept, a conversation goes on from there: what the next prompt leaves out of the
            # answer, such as thoughts, will not come back.
            if kept <= self.MAX_OPENING or kept < slot.prompt - self.MAX_OPENING:
                self.ram_cache.save(slot.id, slot.tokens, slot.domain, kept)
        self.trim(slot, n)

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
        slot.reserved = slot.prompt = n_tokens
        self._touch(slot)
        return slot


def _is_left_by(slot: Slot, owner: Owner) -> bool:
    """An earlier request of the owner's caller has left tokens in the slot."""
    return bool(slot.tokens) and slot.owner.caller == owner.caller


def is_other_session(slot: Slot, owner: Owner) -> bool:
    """The slot has the prefix of another session of the owner's caller."""
    return _is_left_by(slot, owner) and slot.owner.session not in ("", owner.session)
