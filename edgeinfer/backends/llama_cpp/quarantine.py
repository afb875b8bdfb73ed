"""Who killed the worker? Requests under which workers die are tried one by one, until one is found guilty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from edgeinfer.backends.llama_cpp.in_flight import Asked

log = logging.getLogger("edgeinfer.worker")


class Suspects:
    """Says who may go to a worker that was started again.

    A first death proves nothing: everybody goes on. Whoever was at work in two deaths in a row, and was brought no
    further in between, is a suspect, and goes to the worker alone: nobody else is let in until it has been brought
    further, or has ended. Who was alone, or on trial, in two such deaths is guilty. One would not do: workers are
    also killed from outside.
    """

    SUSPECT = 2
    GUILTY = 2

    def __init__(self) -> None:
        self._gate: list[Asked] = []  # suspects that want to go in, first come first
        self._trial: Asked | None = None
        self._changed = asyncio.Event()

    def died(self, casualties: Collection[Asked], death: str) -> None:
        """A worker died of itself, at work on `casualties`."""
        for asked in casualties:
            asked.died(alone=len(casualties) == 1 or asked is self._trial)
            if asked.alone >= self.GUILTY:
                asked.guilty = death
                log.error("a request is given up: workers die of it (%s)", death)
        if suspects := sum(asked.deaths >= self.SUSPECT and not asked.guilty for asked in casualties):
            log.warning("%d requests may be what kills workers: they go on one by one", suspects)
        self._trial = None
        self._change()

    def admit(self, asked: Asked) -> bool:
        """May it go in now? If not, ask again after a `change`."""
        if asked.deaths < self.SUSPECT:
            return self._trial is None and not self._gate
        if self._trial is asked:
            return True
        if asked not in self._gate:
            self._gate.append(asked)
        if self._trial is not None or self._gate[0] is not asked:
            return False
        self._gate.remove(asked)
        self._trial = asked
        return True

    def clear(self, asked: Asked) -> None:
        """It has been brought further, or has ended."""
        asked.advance()
        if asked in self._gate:
            self._gate.remove(asked)
        elif self._trial is not asked:
            return
        else:
            self._trial = None
        self._change()

    async def change(self) -> None:
        """Wait until others may be let in."""
        await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
