"""The middleware that limits each caller's requests per minute, and requests at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Hashable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.errors import RateLimited
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.errors import error_response

MINUTE = 60.0

MAX_CALLERS = 10_000
"""Callers that are remembered."""

_IN_SCOPE = "edgeinfer.usage"


class CallerUsage:
    """The recent requests of one caller.

    Attributes:
        running: requests in progress; one for several answers counts as several.
        due: the time of the last request if they had come evenly (GCRA: a leaky bucket that holds a minute's
            requests).
    """

    __slots__ = ("due", "running")

    def __init__(self) -> None:
        self.running = 0
        self.due = 0.0


class CountedRequest:
    """What one request counts in its caller's usage."""

    def __init__(self, usage: CallerUsage, interval: float) -> None:
        """`interval`: seconds for each request that the limit per minute leaves; 0 where there is none."""
        self._usage = usage
        self._interval = interval
        self._running = 1
        usage.running += 1

    def count_answers(self, answers: int) -> None:
        more = answers - self._running
        self._running += more
        self._usage.running += more
        self._usage.due += more * self._interval

    def end(self) -> None:
        self._usage.running -= self._running


def count_answers(scope: Scope, answers: int) -> None:
    """Let a request for several answers count as so many, against the next requests of its caller."""
    usage = scope.get(_IN_SCOPE)
    if isinstance(usage, CountedRequest):
        usage.count_answers(answers)


class RateLimitMiddleware:
    """Responds with 429 to a caller beyond the limits of its key, or else of the settings. 0 is no limit."""

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
        request = scope[_IN_SCOPE] = CountedRequest(usage, MINUTE / per_minute if per_minute else 0.0)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start" and per_minute:
                MutableHeaders(scope=message).update(self._limits(usage, per_minute))
            await send(message)

        try:
            await self.app(scope, receive, send_with_limits)
        finally:
            request.end()

    def _refusal(self, usage: CallerUsage, per_minute: int, concurrent: int) -> RateLimited | None:
        """The error if this request exceeds a limit; otherwise None, and the request is counted."""
        if concurrent and usage.running >= concurrent:
            return RateLimited(
                f"{usage.running} of your requests or answers are in progress, and the limit is {concurrent}",
                hint="wait for one to finish",
                retry_after=1,
            )
        if per_minute:
            now, interval = self._clock(), MINUTE / per_minute
            due = max(usage.due, now)
            wait = due - now - (MINUTE - interval)
            if wait > 1e-6:
                return RateLimited(
                    f"more than {per_minute} requests per minute",
                    hint=f"wait {math.ceil(wait)} s",
                    retry_after=math.ceil(wait),
                )
            usage.due = due + interval
        return None

    def _limits(self, usage: CallerUsage, per_minute: int) -> dict[str, str]:
        """Headers that tell the caller what is left, as OpenAI's do."""
        ahead = max(0.0, usage.due - self._clock())
        left = max(0, int((MINUTE - ahead) * per_minute / MINUTE + 1e-6))
        return {
            "x-ratelimit-limit-requests": str(per_minute),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{math.ceil(ahead)}s",
        }

    def _usage(self, caller: Hashable) -> CallerUsage:
        usage = self._usages.get(caller)
        if usage is None:
            if len(self._usages) >= MAX_CALLERS:
                self._forget()
            usage = self._usages[caller] = CallerUsage()
        return usage

    def _forget(self) -> None:
        """Drop callers without recent requests, or else the idle one that has been known longest."""
        now = self._clock()
        idle = [c for c, usage in self._usages.items() if not usage.running]
        past = [c for c in idle if self._usages[c].due <= now]
        for caller in past or idle[:1]:
            del self._usages[caller]
