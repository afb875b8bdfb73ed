"""Reports progress to the service manager, which otherwise kills the daemon and starts it again."""

from __future__ import annotations

import asyncio
from typing import Protocol

from edgeinfer.notify import WATCHDOG, extend, notify, watchdog_seconds

MAX_PERIOD = 10.0
"""Maximum seconds between two reports."""

EXTENSION = 6 * MAX_PERIOD
"""Seconds by which each report extends a start or a reload."""


class Watched(Protocol):
    """The service, as the watchdog sees it."""

    @property
    def state(self) -> str: ...

    @property
    def healthy(self) -> bool:
        """True if every engine makes progress, or is being restarted."""
        ...


async def watchdog(watched: Watched) -> None:
    """Report progress until cancelled.

    Reports come from the event loop, so they prove that it runs. They stop when an engine hangs and is not being
    restarted. A model that loads does not count as a hang: its supervisor stops it after load_timeout.
    """
    interval = watchdog_seconds()
    period = min(interval / 3, MAX_PERIOD) if interval else MAX_PERIOD
    while True:
        if watched.state in ("loading", "reloading"):
            extend(EXTENSION)
        if interval and watched.healthy:
            notify(WATCHDOG)
        await asyncio.sleep(period)
