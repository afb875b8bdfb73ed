"""Keeps prefixes in RAM that had to make room in the KV cache: copying one back is faster than computing it again.

llama-server calls this its prompt cache (`--cache-ram`), others a host cache: where a GPU computes, it is the host's RAM.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

from edgeinfer.engine.backend import Backend, SavedState
from edgeinfer.engine.common_prefix import common_prefix

MB = 1_000_000


class RamCacheEntry:
    """The saved cells of `tokens`; only prompts of the same cache domain may use them."""

    def __init__(self, tokens: list[int], domain: str, data: SavedState) -> None:
        self.tokens = tokens
        self.domain = domain
        self.data = data


class RamCache:
    """Saved sequences of one backend, up to `megabytes`. The least recently used one makes room for another.

    Attributes:
        hits_total: prefixes that were copied back.
        tokens_total: tokens that did not have to be computed because of that.
        failures_total: prefixes that could not be saved or copied back.
        bytes: size of what is saved.
    """

    MIN_TOKENS = 64
    """Fewer tokens are computed again: they are neither saved nor copied back."""

    MAX_ENTRIES = 256
    """Each admission compares its prompt with all entries."""

    def __init__(self, backend: Backend, megabytes: int) -> None:
        self._backend = backend
        self._capacity = megabytes * MB
        self._entries: list[RamCacheEntry] = []  # the least recently used first
        self.hits_total = self.tokens_total = self.failures_total = 0
        self.bytes = 0

    @property
    def enabled(self) -> bool:
        return self._capacity > 0

    @property
    def entries(self) -> list[RamCacheEntry]:
        """The most recently used first."""
        return self._entries[::-1]

    def usable(self, held: list[int], tokens: Seq[int]) -> int:
        """How many of `tokens` need not be computed where the cells of `held` are."""
        n = common_prefix(held, tokens)
        return n if self._backend.removes_tails or n == len(held) else 0

    def longest(self, tokens: Seq[int], domain: str) -> tuple[RamCacheEntry | None, int]:
        """The entry with the longest usable prefix of `tokens`, and the prefix's length."""
        best, longest = None, 0
        head = tokens[: self.MIN_TOKENS]
        for entry in self._entries:
            if entry.domain != domain or entry.tokens[: self.MIN_TOKENS] != head:
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
        if entry and saved > kept:
            self._touch(entry)
        if len(tokens) - max(kept, saved) < self.MIN_TOKENS:
            return
        size = self._backend.state_size(sequence)
        if size > self._capacity:
            return
        self._make_room(tokens, domain, size)  # first, because the copy would come on top
        data = self._backend.save(sequence)
        if len(data):
            self.add(list(tokens), data, domain)
        else:
            self.failures_total += 1

    def add(self, tokens: list[int], data: SavedState, domain: str) -> bool:
        """Keep saved cells; False if they are larger than everything may be."""
        if len(data) > self._capacity:
            return False
        self._make_room(tokens, domain, len(data))
        self._entries.append(RamCacheEntry(tokens, domain, data))
        self.bytes += len(data)
        return True

    def use(self, entry: RamCacheEntry, n: int) -> None:
        """Note that the first `n` tokens of an entry are about to be copied back.

        If these are all, the entry is the first to go: it will be there twice. If it stays, it need not be saved again.
        """
        self._entries.remove(entry)
        self._entries.insert(0 if n == len(entry.tokens) else len(self._entries), entry)

    def on_restored(self, spared: int) -> None:
        """An entry is in the KV cache again, and `spared` tokens are not computed because of that."""
        self.hits_total += 1
        self.tokens_total += spared

    def on_failed(self, entry: RamCacheEntry) -> None:
        """An entry could not be copied back; it is not tried again."""
        self.failures_total += 1
        self._remove(entry)

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def _touch(self, entry: RamCacheEntry) -> None:
        self._entries.remove(entry)
        self._entries.append(entry)

    def _make_room(self, tokens: list[int], domain: str, size: int) -> None:
        """Remove what `tokens` would serve as well, such as a conversation's earlier turns; then as much as it takes."""
        for entry in self.entries if self._backend.removes_tails else ():
            n = common_prefix(entry.tokens, tokens) if entry.domain == domain else 0
            if len(entry.tokens) - n < self.MIN_TOKENS:
                self._remove(entry)
        while self._entries and (
            self.bytes + size > self._capacity or len(self._entries) >= self.MAX_ENTRIES
        ):
            self._remove(self._entries[0])

    def _remove(self, entry: RamCacheEntry) -> None:
        if entry in self._entries:  # it may have made room for another one meanwhile
            self._entries.remove(entry)
            self.bytes -= len(entry.data)
