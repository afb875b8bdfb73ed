"""Keeps prefixes in RAM that had to make room in the KV cache: copying one back is faster than computing it again.

llama-server calls this its prompt cache (`--cache-ram`), others a host cache: where a GPU computes, it is the host's RAM.
If the RAM outlives the process, answers in progress are copied to it too, so that the next process can continue them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from functools import partial

from edgeinfer.engine.backend import Backend, SavedState
from edgeinfer.engine.common_prefix import common_prefix
from edgeinfer.engine.state_memory import MAX_STATES, StateLabel, StateMemory, StoredState

MB = 1_000_000


class RamCacheEntry:
    """The saved cells of `tokens`; only prompts of the same cache domain may use them.

    Attributes:
        stored: where they are, if that is memory which outlives the process.
        unfinished: an answer in progress; only its own next entry replaces it.
        cut_short: the answer has gone on since.
    """

    def __init__(
        self,
        tokens: list[int],
        domain: str,
        data: SavedState,
        stored: StoredState | None = None,
        *,
        unfinished: bool = False,
    ) -> None:
        self.tokens = tokens
        self.domain = domain
        self.data = data
        self.stored = stored
        self.unfinished = self.cut_short = unfinished


class RamCache:
    """Saved sequences of one backend, up to `megabytes`. The least recently used one makes room for another.

    Attributes:
        hits_total: prefixes that were copied back.
        tokens_total: tokens that did not have to be computed because of that.
        failures_total: prefixes that could not be saved or copied back.
        bytes: size of what is saved.
        snapshots_total: copies of answers in progress.
        resumed_total, resumed_tokens_total: answers that went on from such a copy, and the tokens in it.
    """

    MIN_TOKENS = 64
    """Fewer tokens are computed again: they are neither saved nor copied back."""

    MAX_ENTRIES = MAX_STATES
    """Each admission compares its prompt with all entries."""

    def __init__(self, backend: Backend, megabytes: int, memory: StateMemory | None = None) -> None:
        """`memory` outlives this process, and may have entries of the one before."""
        self._backend = backend
        self._capacity = megabytes * MB
        self._memory = memory
        self._entries: list[RamCacheEntry] = []  # the least recently used first
        self._order = 0
        self.hits_total = self.tokens_total = self.failures_total = 0
        self.snapshots_total = self.resumed_total = self.resumed_tokens_total = 0
        self.bytes = 0
        if memory:
            self._take_over(memory)

    @property
    def enabled(self) -> bool:
        return self._capacity > 0

    @property
    def outlives(self) -> bool:
        """What is saved is there for the next process."""
        return self._memory is not None

    @property
    def entries(self) -> list[RamCacheEntry]:
        """The most recently used first."""
        return self._entries[::-1]

    def figures(self) -> dict[str, int]:
        """Fields of EngineStats."""
        return {
            "ram_cache_hits_total": self.hits_total,
            "ram_cache_tokens_total": self.tokens_total,
            "ram_cache_failures_total": self.failures_total,
            "ram_cache_bytes": self.bytes,
            "snapshots_total": self.snapshots_total,
            "resumed_answers_total": self.resumed_total,
            "resumed_tokens_total": self.resumed_tokens_total,
        }

    def __contains__(self, entry: RamCacheEntry) -> bool:
        return entry in self._entries

    def usable(self, held: list[int], tokens: Seq[int]) -> int:
        """How many of `tokens` need not be computed where the cells of `held` are."""
        n = common_prefix(held, tokens)
        return n if self._backend.removes_tails or n == len(held) else 0

    def longest(self, tokens: Seq[int], domain: str) -> tuple[RamCacheEntry | None, int]:
        """The entry with the longest usable prefix of `tokens`, and the prefix's length."""
        best, longest = None, 0
        head = tokens[: self.MIN_TOKENS]
        for entry in self._entries:
            beginning = entry.tokens[: self.MIN_TOKENS]
            if entry.domain != domain or beginning != head[: len(beginning)]:
                continue
            # If they differ at this place, no more than `longest` are common.
            if entry.tokens[longest : longest + 1] == tokens[longest : longest + 1]:
                n = self.usable(entry.tokens, tokens)
                if n > longest:
                    best, longest = entry, n
        return best, longest

    def save(self, sequence: int, tokens: list[int], domain: str, kept: int) -> None:
        """Save a sequence that is about to be dropped, unless that would spare too little.

        `kept`: how many of its tokens need not be computed again anyway, because their cells stay in the KV cache.
        """
        entry, saved = self.longest(tokens, domain)
        if entry and entry.cut_short:
            saved = 0
        elif entry and saved > kept:
            self.touch(entry)
        if len(tokens) - max(kept, saved) < self.MIN_TOKENS:
            return
        self._copy(sequence, tokens, domain)

    def snapshot(
        self, sequence: int, tokens: list[int], domain: str, before: RamCacheEntry | None
    ) -> RamCacheEntry | None:
        """Copy an answer in progress; -> the copy, or None if it is too large. The one `before` goes once it is there."""
        entry = self._copy(sequence, tokens, domain, unfinished=True)
        if entry:
            self.snapshots_total += 1
            if before:
                self._remove(before)
        return entry

    def end_snapshot(self, entry: RamCacheEntry) -> None:
        """Nothing goes on from the entry now. Its cells are in the KV cache too: it is the first to go."""
        entry.unfinished = False
        if entry in self._entries:
            self._entries.remove(entry)
            self._entries.insert(0, entry)

    def drop(self, entry: RamCacheEntry) -> None:
        """Nothing may go on from the entry any more."""
        if entry in self._entries:
            self._remove(entry)

    def add(self, tokens: list[int], data: SavedState, domain: str) -> bool:
        """Keep saved cells; False if they are larger than everything may be."""
        if not self._make_room(tokens, domain, len(data)):
            return False
        if self._memory is None:
            self._append(RamCacheEntry(tokens, domain, data))
            return True

        def write(buffer: memoryview) -> int:
            buffer[:] = data
            return len(buffer)

        return self._store(self._memory, tokens, domain, len(data), write) is not None

    @contextlib.contextmanager
    def loading(self, entry: RamCacheEntry) -> Iterator[SavedState | None]:
        """The data of an entry, which is about to be copied back; None if it is damaged."""
        if self._memory is None or entry.stored is None:
            yield entry.data
        elif entry not in self._entries:  # it has just made room
            yield None
        else:
            with self._memory.loading(entry.stored) as data:
                yield data

    def on_restored(self, entry: RamCacheEntry, n: int, spared: int) -> None:
        """The first `n` tokens of an entry are in the KV cache again, and `spared` are not computed because of that.

        If these are all, the entry is the first to go: it is there twice. If it stays, it need not be saved again.
        """
        if n == len(entry.tokens):
            self.end_snapshot(entry)
        self.hits_total += 1
        self.tokens_total += spared

    def on_resumed(self, entry: RamCacheEntry, spared: int) -> None:
        """An answer goes on from the entry, which spares `spared` tokens. It stays, in case that this process dies too."""
        entry.unfinished = True
        self.resumed_total += 1
        self.resumed_tokens_total += spared

    def on_failed(self, entry: RamCacheEntry) -> None:
        """An entry could not be copied back; it is not tried again."""
        self.failures_total += 1
        self._remove(entry)

    def clear(self) -> None:
        for entry in self.entries:
            self._remove(entry)

    def _take_over(self, memory: StateMemory) -> None:
        for stored, label in memory.labels():
            data = memory.data(stored)
            self._append(RamCacheEntry(label.tokens, label.domain, data, stored, unfinished=label.unfinished))
            self._order = label.order

    def touch(self, entry: RamCacheEntry) -> None:
        if entry in self._entries:
            self._entries.remove(entry)
            self._entries.append(entry)

    def _append(self, entry: RamCacheEntry) -> None:
        self._entries.append(entry)
        self.bytes += len(entry.data)

    def _copy(
        self, sequence: int, tokens: list[int], domain: str, *, unfinished: bool = False
    ) -> RamCacheEntry | None:
        """Copy a sequence's cells; None if they are too large, or it fails."""
        size = self._backend.state_size(sequence)
        if not self._make_room(tokens, domain, size):
            return None
        tokens = list(tokens)
        if self._memory:
            save = partial(self._save, sequence)
            entry = self._store(self._memory, tokens, domain, size, save, unfinished=unfinished)
        else:
            data = self._backend.save(sequence)
            entry = RamCacheEntry(tokens, domain, data) if len(data) else None
            if entry:
                self._append(entry)
        self.failures_total += entry is None
        return entry

    def _save(self, sequence: int, buffer: memoryview) -> int:
        return len(self._backend.save(sequence, buffer))

    def _store(
        self,
        memory: StateMemory,
        tokens: list[int],
        domain: str,
        size: int,
        write: Callable[[memoryview], int],
        *,
        unfinished: bool = False,
    ) -> RamCacheEntry | None:
        self._order += 1
        stored = memory.add(StateLabel(self._order, tokens, domain, unfinished), size, write)
        if stored is None:
            return None
        entry = RamCacheEntry(tokens, domain, memory.data(stored), stored, unfinished=unfinished)
        self._append(entry)
        return entry

    def _make_room(self, tokens: list[int], domain: str, size: int) -> bool:
        """Remove what `tokens` would serve as well, such as a conversation's earlier turns; then as much as it takes.

        It comes first because the copy would come on top. False if it is larger than everything may be.
        """
        if size > self._capacity:
            return False
        for entry in self.entries if self._backend.removes_tails else ():
            n = common_prefix(entry.tokens, tokens) if entry.domain == domain else 0
            if not entry.unfinished and len(entry.tokens) - n < self.MIN_TOKENS:
                self._remove(entry)
        while self._entries and (
            self.bytes + size > self._capacity or len(self._entries) >= self.MAX_ENTRIES
        ):
            self._remove(self._entries[0])
        return True

    def _remove(self, entry: RamCacheEntry) -> None:
        if entry in self._entries:  # it may have made room for another one meanwhile
            self._entries.remove(entry)
            self.bytes -= len(entry.data)
            if self._memory and entry.stored:
                self._memory.remove(entry.stored)
