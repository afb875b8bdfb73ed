"""How many connections there may be, and which has to go if one more comes."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys

MAX_CONNECTIONS = 2048
"""Connections at once, each of some 20 KB."""

RESERVE = 128
"""Descriptors for everything else."""

WANTED = 65536
"""A higher limit than this would only make it costly to go through all descriptors."""


def raise_limit() -> int:
    """Let this process open as many files as it is allowed to; -> connections it can take.

    The usual soft limit of 1024 (256 on macOS) is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if sys.platform == "darwin":
        wanted = min(wanted, 10240)  # OPEN_MAX, whatever the hard limit says
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(1, min(MAX_CONNECTIONS, (WANTED if soft == resource.RLIM_INFINITY else soft) - RESERVE))


class IdleConnections:
    """The connections on which no request is in progress, the one that has been so the longest first."""

    def __init__(self) -> None:
        self._transports: dict[asyncio.Transport, None] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Unless it is there: what trickles in keeps nobody's place."""
        self._transports.setdefault(transport)

    def discard(self, transport: asyncio.Transport) -> None:
        self._transports.pop(transport, None)

    def cut(self) -> bool:
        """Close the first; False where there is none."""
        for transport in self._transports:
            self.discard(transport)
            transport.abort()
            return True
        return False
