"""Unloads models that have been idle for as long as they may stay loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from edgeinfer.serving.model import ServedModel

logger = logging.getLogger(__name__)

MIN_IDLE = 0.1
"""Seconds that every model stays loaded after a request, and the shortest sleep between two looks."""


class IdleExpiry:
    """Ends models whose keep-alive is over. It sleeps while none can expire, and has no task where none ever will.

    Attributes:
        stopped: nothing expires any more.
    """

    def __init__(
        self,
        loaded: Callable[[], Sequence[ServedModel]],
        keep_alive: Callable[[ServedModel], float | None],
        end: Callable[[ServedModel], Awaitable[object]],
    ) -> None:
        """`keep_alive`: seconds after its last request at which `end` is called with a model; None is never."""
        self.stopped = False
        self._loaded = loaded
        self._keep_alive = keep_alive
        self._end = end
        self._changed = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def update(self) -> None:
        """Look again: a model was loaded, or may stay for another time than before."""
        if self.stopped or not self._loaded():
            return
        self._changed.set()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    def seconds_left(self, model: ServedModel) -> float | None:
        """Seconds until `model` expires if it is not used again; None: it does not expire."""
        end = self._expires_at(model)
        return None if end is None else max(0.0, end - time.monotonic())

    def stop(self) -> None:
        self.stopped = True
        if self._watching:
            self._watching.cancel()

    async def _watch(self) -> None:
        while ends := [end for model in self._loaded() if (end := self._expires_at(model)) is not None]:
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                pause = max(MIN_IDLE, min(ends) - time.monotonic())
                await asyncio.wait_for(self._changed.wait(), pause)
            for model in self._loaded():
                if self._is_expired(model):
                    logger.info("unloading %s, which has been idle", model.name)
                    await self._end(model)

    def _is_expired(self, model: ServedModel) -> bool:
        end = self._expires_at(model)
        return end is not None and end <= time.monotonic() and not model.busy and not model.loading

    def _expires_at(self, model: ServedModel) -> float | None:
        seconds = self._keep_alive(model)
        if seconds is None:
            return None
        # While it is busy its time has not begun.
        return (time.monotonic() if model.busy else model.last_used) + max(seconds, MIN_IDLE)
