"""The service manager's watch over the daemon: it hears that there is progress, or it kills and starts anew."""

from __future__ import annotations

import asyncio
from typing import Protocol

from edgeinfer.notify import extend, notify, watchdog_seconds

PERIOD = 10.0
"""Seconds between two signs of life at most."""

MORE_TIME = 6 * PERIOD
"""Seconds that a start or a reload is given with each sign, counted from it."""


class Watched(Protocol):
    """The service."""

    @property
    def state(self) -> str: ...

    @property
    def healthy(self) -> bool:
        """Whether the engine makes progress, or is being seen to."""
        ...


async def watchdog(watched: Watched) -> None:
    """Give signs of life until cancelled.

    They come from the event loop, so it runs; they stop when the engine hangs and nobody does anything about
    it. A model that loads is no hang: the supervisor ends that by itself, after load_timeout.
    """
    interval = watchdog_seconds()
    period = min(interval / 3, PERIOD) if interval else PERIOD
    while True:
        if watched.state in ("loading", "reloading"):
            extend(MORE_TIME)
        if interval and watched.healthy:
            notify("WATCHDOG=1")
        await asyncio.sleep(period)
