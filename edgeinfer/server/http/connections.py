"""Limits the number of connections, and chooses the one to close if there are too many."""

from __future__ import annotations

import contextlib
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from edgeinfer.server.http.freed_memory import FreedMemory

MAX_CONNECTIONS = 2048
"""Maximum number of connections; each takes about 20 KB."""

READ_SIZE = 16384
"""Bytes that are read from a connection at a time; small, so that all get their turn."""

RESERVE = 128
"""Descriptors that are left for everything else."""

MAX_DESCRIPTORS = 65536
"""A higher limit would only make it slow to iterate over all descriptors."""


def raise_limit(descriptors_each: int = 1) -> int:
    """Raise the soft limit on open files; -> the number of connections that this allows.

    The usual soft limit of 1024 (256 on macOS) is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if sys.platform == "darwin":
        target = min(target, 10240)  # OPEN_MAX, even if the hard limit is higher
    if soft != resource.RLIM_INFINITY and soft < target:
        with contextlib.suppress(OSError, ValueError):  # it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
    descriptors = MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return max(1, min(MAX_CONNECTIONS, (descriptors - RESERVE) // descriptors_each))


class Abortable(Protocol):
    """A connection at any stage, from its arrival on: something that can be closed at once."""

    def abort(self) -> None: ...


class OpenConnections:
    """All connections of a server: those with a request in progress, and the idle ones."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit or MAX_CONNECTIONS
        self._busy: set[Abortable] = set()
        self._idle: dict[Abortable, None] = {}
        """The one that has been idle longest is the first."""
        self.buffer = memoryview(bytearray(READ_SIZE))
        """For the bytes just read from any of them."""
        self.freed_memory = FreedMemory(ThreadPoolExecutor(1, thread_name_prefix="freed-memory"))
        """Returns what was kept for clients that did not read it."""

    def admit(self, connection: Abortable) -> bool:
        """Count a new connection, closing an idle one if there are too many; False if none is idle."""
        if len(self._busy) + len(self._idle) >= self._limit and not self.cut():
            return False
        self.idle(connection)
        return True

    def idle(self, connection: Abortable) -> None:
        """Count `connection` as idle. If it was already, it keeps its place: a trickle of bytes changes nothing."""
        self._busy.discard(connection)
        self._idle.setdefault(connection)

    def busy(self, connection: Abortable) -> None:
        self._idle.pop(connection, None)
        self._busy.add(connection)

    def discard(self, connection: Abortable) -> None:
        self._idle.pop(connection, None)
        self._busy.discard(connection)

    def cut(self) -> bool:
        """Close the connection that has been idle longest; False if none is idle."""
        for connection in self._idle:
            self.discard(connection)
            connection.abort()
            return True
        return False
