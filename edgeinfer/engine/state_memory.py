"""Keeps saved states in memory that outlives the process which writes them, so that the next one finds them.

The memory is a file without a name. Its index says where the states are, with checksums. A state is entered once it is
complete, and taken out before it is loaded or overwritten: whenever a process dies, whole states remain, and none that
it died of. What a dying process may have damaged is not used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

MARK = b"edgeinfer states"
MAX_STATES = 256

PLACE = struct.Struct("<QQIII")
CHECKSUM = struct.Struct("<I")
ENTRY = PLACE.size + CHECKSUM.size
INDEX = len(MARK) + hashlib.sha256().digest_size
FIRST = -(-(INDEX + MAX_STATES * ENTRY) // mmap.PAGESIZE) * mmap.PAGESIZE


class StateLabel(msgspec.Struct, frozen=True, array_like=True):
    """What a state is of.

    Attributes:
        order: higher than that of all states before it.
        unfinished: the answer at its end was being written.
    """

    order: int
    tokens: list[int]
    domain: str = ""
    unfinished: bool = False


class StoredState(NamedTuple):
    """Where a state is: its entry of the index, the place of its label, the sizes and checksums of label and data."""

    number: int
    start: int
    size: int
    label_size: int
    label_checksum: int
    checksum: int

    @property
    def end(self) -> int:
        return self.start + self.label_size + self.size


class StateMemory:
    """The states of one model and configuration. What a process with another `fingerprint` has left is dropped."""

    def __init__(self, descriptor: int, size: int, fingerprint: str) -> None:
        """Take over the file, whose states may have `size` bytes together.

        Raises:
            OSError: another process has it.
        """
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
        space = FIRST + 2 * size  # memory is only taken where a state is, and gaps do no harm
        header = MARK + hashlib.sha256(fingerprint.encode()).digest()
        if os.fstat(descriptor).st_size != space or os.pread(descriptor, len(header), 0) != header:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, space)
            os.pwrite(descriptor, header, 0)
        self._map = mmap.mmap(descriptor, space)
        self._bytes = memoryview(self._map)
        self._states = sorted(self._entries(), key=lambda state: state.start)

    def labels(self) -> list[tuple[StoredState, StateLabel]]:
        """All states, the oldest first. Those whose labels are damaged are dropped."""
        found = []
        for state in list(self._states):
            encoded = self._bytes[state.start : state.start + state.label_size]
            try:
                if zlib.crc32(encoded) != state.label_checksum:
                    raise msgspec.DecodeError("it is not what was written")
                found.append((state, msgspec.msgpack.decode(encoded, type=StateLabel)))
            except msgspec.DecodeError:
                self.remove(state)
        return sorted(found, key=lambda item: item[1].order)

    def add(self, label: StateLabel, size: int, write: Callable[[memoryview], int]) -> StoredState | None:
        """Add a state of up to `size` bytes. `write` returns how many it has written.

        Returns None if that is none, or there is no gap of that size.
        """
        encoded = msgspec.msgpack.encode(label)
        start = self._gap(len(encoded) + size)
        free = set(range(MAX_STATES)).difference(state.number for state in self._states)
        if start is None or not free:
            return None
        data = start + len(encoded)
        size = write(self._bytes[data : data + size])
        if not size:
            return None
        self._bytes[start:data] = encoded
        checksum = zlib.crc32(self._bytes[data : data + size])
        state = StoredState(min(free), start, size, len(encoded), zlib.crc32(encoded), checksum)
        self._enter(state)
        self._states = sorted([*self._states, state], key=lambda state: state.start)
        return state

    def data(self, state: StoredState) -> memoryview:
        return self._bytes[state.end - state.size : state.end]

    @contextlib.contextmanager
    def loading(self, state: StoredState) -> Iterator[memoryview | None]:
        """The data of a state, None if it is damaged. Where this process dies meanwhile, the next does not find it."""
        self._clear(state)
        yield self.data(state) if zlib.crc32(self.data(state)) == state.checksum else None
        self._enter(state)

    def remove(self, state: StoredState) -> None:
        """Drop a state, and give its memory back to the system."""
        self._clear(state)
        self._states.remove(state)
        first, last = -(-state.start // mmap.PAGESIZE), state.end // mmap.PAGESIZE
        if last > first and hasattr(mmap, "MADV_REMOVE"):
            self._map.madvise(mmap.MADV_REMOVE, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)

    def _gap(self, size: int) -> int | None:
        """The first place at which `size` bytes are free."""
        start = FIRST
        for state in self._states:
            if state.start - start >= size:
                break
            start = state.end
        return start if start + size <= len(self._bytes) else None

    def _entries(self) -> Iterator[StoredState]:
        for number in range(MAX_STATES):
            at = INDEX + number * ENTRY
            place, checksum = self._bytes[at : at + PLACE.size], self._bytes[at + PLACE.size : at + ENTRY]
            state = StoredState(number, *PLACE.unpack(place))
            if state.start and CHECKSUM.unpack(checksum) == (zlib.crc32(place),):
                yield state

    def _enter(self, state: StoredState) -> None:
        at, place = INDEX + state.number * ENTRY, PLACE.pack(*state[1:])
        self._bytes[at : at + ENTRY] = place + CHECKSUM.pack(zlib.crc32(place))

    def _clear(self, state: StoredState) -> None:
        at = INDEX + state.number * ENTRY
        self._bytes[at : at + ENTRY] = bytes(ENTRY)
