"""Limits the number of connections, and chooses the one to close if there are too many."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys

MAX_CONNECTIONS = 2048
"""Maximum number of connections; each takes about 20 KB."""

RESERVE = 128
"""Descriptors that are left for everything else."""

MAX_DESCRIPTORS = 65536
"""A higher limit would only make it slow to iterate over all descriptors."""


def raise_limit() -> int:
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
    return max(1, min(MAX_CONNECTIONS, descriptors - RESERVE))


class IdleConnections:
    """The connections without a request in progress, the one that has been idle longest first."""

    def __init__(self) -> None:
        self._transports: dict[asyncio.Transport, None] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Add a connection, unless it is there already: a trickle of bytes does not make it less idle."""
        self._transports.setdefault(transport)

    def discard(self, transport: asyncio.Transport) -> None:
        self._transports.pop(transport, None)

    def cut(self) -> bool:
        """Close the connection that has been idle longest; False if none is idle."""
        for transport in self._transports:
            self.discard(transport)
            transport.abort()
            return True
        return False
