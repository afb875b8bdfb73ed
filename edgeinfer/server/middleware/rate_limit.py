"""How much one caller may ask: requests a minute, and requests at once, as pure ASGI."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Hashable

from starlette.types import ASGIApp, Receive, Scope, Send

from edgeinfer.errors import RateLimited
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.errors import error_response

MINUTE = 60.0

MAX_CALLERS = 10_000
"""Callers that are remembered."""


class CallerUsage:
    """What one caller has asked lately.

    Attributes:
        running: requests in progress.
        due: when the last request would have come, had they come evenly (GCRA: a bucket of a minute's
            requests that leaks all the time).
    """

    __slots__ = ("due", "running")

    def __init__(self) -> None:
        self.running = 0
        self.due = 0.0


class RateLimitMiddleware:
    """429 for a caller that asks more than its key, or else the settings, allow. 0 is no limit."""

    def __init__(
        self,
        app: ASGIApp,
        per_minute: int,
        concurrent: int,
        open_paths: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.per_minute = per_minute
        self.concurrent = concurrent
        self.open_paths = open_paths
        self._clock = clock
        self._usages: dict[Hashable, CallerUsage] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
            return
        caller = principal_of(scope)
        key = caller.key
        per_minute, concurrent = self.per_minute, self.concurrent
        if key and key.requests_per_minute is not None:
            per_minute = key.requests_per_minute
        if key and key.concurrent_requests is not None:
            concurrent = key.concurrent_requests
        if not per_minute and not concurrent:
            await self.app(scope, receive, send)
            return
        usage = self._usage(caller.id)
        if error := self._refusal(usage, per_minute, concurrent):
            await error_response(scope, error)(scope, receive, send)
            return
        usage.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            usage.running -= 1

    def _refusal(self, usage: CallerUsage, per_minute: int, concurrent: int) -> RateLimited | None:
        """Why this request is one too many; None where it is not, and then it counts."""
        if concurrent and usage.running >= concurrent:
            return RateLimited(
                f"{usage.running} requests of yours are in progress, and the limit is {concurrent}",
                hint="wait for one to end",
                retry_after=1,
            )
        if per_minute:
            now, interval = self._clock(), MINUTE / per_minute
            due = max(usage.due, now)
            wait = due - now - (MINUTE - interval)
            if wait > 1e-6:
                return RateLimited(
                    f"more than {per_minute} requests a minute",
                    hint=f"wait {math.ceil(wait)} s",
                    retry_after=math.ceil(wait),
                )
            usage.due = due + interval
        return None

    def _usage(self, caller: Hashable) -> CallerUsage:
        usage = self._usages.get(caller)
        if usage is None:
            if len(self._usages) >= MAX_CALLERS:
                self._forget()
            usage = self._usages[caller] = CallerUsage()
        return usage

    def _forget(self) -> None:
        """Those who have asked nothing lately; if these are none, the one known longest."""
        now = self._clock()
        idle = [c for c, usage in self._usages.items() if not usage.running]
        past = [c for c in idle if self._usages[c].due <= now]
        for caller in past or idle[:1]:
            del self._usages[caller]
