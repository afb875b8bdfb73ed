"""Gives back what large bodies have taken, or unread responses."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from edgeinfer.allocator import return_freed_memory

DELAY = 0.5
"""Seconds in which more may become free."""


class FreedMemory:
    """Returns freed memory once a while, in a thread of `executor`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._timer: asyncio.TimerHandle | None = None

    def return_soon(self) -> None:
        """Return what is free `DELAY` seconds from now; further calls until then change nothing."""
        if self._timer and self._timer.when() > asyncio.get_running_loop().time():
            return
        self._timer = asyncio.get_running_loop().call_later(DELAY, self._executor.submit, return_freed_memory)
