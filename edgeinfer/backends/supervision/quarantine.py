"""Finds the request that crashes workers: suspects run alone until one is to blame, or makes progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from edgeinfer.backends.supervision.crash_holds import CrashHolds
from edgeinfer.backends.supervision.request import InFlightRequest

log = logging.getLogger("edgeinfer.worker")


class CrashQuarantine:
    """Decides which requests a restarted worker may take.

    After one crash all requests resume. A request that was in flight in two crashes in a row without progress in
    between is a suspect, and is isolated: no other request is admitted until it has made progress or ended. A request
    that was alone in flight, or isolated, in two such crashes is to blame. A worker that is killed from outside has not
    crashed, unless that happens again and again (`InFlightRequest.MAX_KILLS`).

    Attributes:
        holds: callers with too many requests that were to blame.
    """

    MIN_SUSPECT_CRASHES = 2
    MIN_BLAMED_CRASHES = 2

    def __init__(self) -> None:
        self.holds = CrashHolds()
        self._suspects: list[InFlightRequest] = []  # those that wait to be isolated, first come, first served
        self._isolated: InFlightRequest | None = None
        self._changed = asyncio.Event()

    def on_crash(self, requests: Collection[InFlightRequest], exit: str, *, killed: bool = False) -> None:
        """A worker ended while it worked on `requests`. `killed`: to all appearances somebody else ended it."""
        for request in requests:
            request.on_crash(len(requests) == 1 or request is self._isolated, killed)
            if request.solo_crashes >= self.MIN_BLAMED_CRASHES:
                request.blamed_exit = exit
                self.holds.add(request.activity, request.solo_crashes)
                log.error("a request is given up: it crashes the worker (%s)", exit)
        suspects = sum(r.crashes >= self.MIN_SUSPECT_CRASHES and not r.blamed_exit for r in requests)
        if suspects:
            log.warning("%d requests may be what crashes the worker: they go on one by one", suspects)
        self._isolated = None
        self._notify()

    def admit(self, request: InFlightRequest) -> bool:
        """True if a worker may take the request now. Otherwise ask again after `changed`."""
        if request.crashes < self.MIN_SUSPECT_CRASHES:
            return self._isolated is None and not self._suspects
        if self._isolated is request:
            return True
        if request not in self._suspects:
            self._suspects.append(request)
        if self._isolated is not None or self._suspects[0] is not request:
            return False
        self._suspects.remove(request)
        self._isolated = request
        return True

    def release(self, request: InFlightRequest) -> None:
        """The request has made progress, or has ended."""
        request.on_progress()
        if request in self._suspects:
            self._suspects.remove(request)
        elif self._isolated is not request:
            return
        else:
            self._isolated = None
        self._notify()

    def abandon(self, request: InFlightRequest) -> None:
        """The client has left: the crashes of its request count all the same."""
        if request.solo_crashes and request.blamed_exit is None:
            self.holds.add(request.activity, request.solo_crashes)

    async def changed(self) -> None:
        """Wait until other requests may be admitted."""
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
