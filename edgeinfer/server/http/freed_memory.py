"""Gives memory back to the system that glibc's allocator keeps: what large bodies have taken, or unread responses."""

from __future__ import annotations

import asyncio
import ctypes
from concurrent.futures import Executor

DELAY = 0.5
"""Seconds in which more may become free."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""https://man7.org/linux/man-pages/man3/malloc_trim.3.html; other C libraries have none, and need none."""


class FreedMemory:
    """Returns freed memory once a while, in a thread of `executor`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._timer: asyncio.TimerHandle | None = None

    def return_soon(self) -> None:
        """Return what is free `DELAY` seconds from now; further calls until then change nothing."""
        if _trim is None or (self._timer and self._timer.when() > asyncio.get_running_loop().time()):
            return
        self._timer = asyncio.get_running_loop().call_later(DELAY, self._executor.submit, _trim, 0)
