"""The middleware that limits the size of request bodies, and how slowly they may arrive."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.errors import EdgeinferError, InvalidRequest, PayloadTooLarge, QueueFull
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.errors import error_response
from edgeinfer.server.http.headers import header_values

MAX_PAUSE = 30.0
"""Seconds between two pieces of a body. A longer pause ends the request (slowloris)."""

MIN_RATE = 1024
"""Bytes per second on average, after MAX_PAUSE. A slower sender is cut off too."""

MAX_IN_PROGRESS = 4
"""The bodies of all requests in progress may take this many times the limit of one, those of one caller half of it."""


class BodyLimitMiddleware:
    """Refuses bodies larger than `limit` bytes, announced or in chunks, and bodies that arrive too slowly.

    All bodies in progress together are limited as well, so that they do not fill the memory, and those of one caller
    more narrowly, so that it does not keep others from sending theirs.
    """

    def __init__(
        self, app: ASGIApp, limit: int, max_pause: float = MAX_PAUSE, min_rate: int = MIN_RATE
    ) -> None:
        self.app = app
        self.limit = limit
        self.max_pause = max_pause
        self.min_rate = min_rate
        self.held = 0
        """Bytes of the bodies of all requests in progress."""
        self.held_by = Counter[Hashable]()
        """The same, by caller."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _announced(scope) > self.limit:
            await error_response(scope, self.too_large())(scope, receive, send)
            return
        body = _Body(receive, self, principal_of(scope).id)
        try:
            await self.app(scope, body.receive, send)
        finally:
            self.count(body.caller, -body.held)

    def count(self, caller: Hashable, size: int) -> None:
        """Add to what is held."""
        self.held += size
        self.held_by[caller] += size
        if not self.held_by[caller]:
            del self.held_by[caller]

    def too_large(self) -> EdgeinferError:
        hint = "max_body in the configuration file sets the limit"
        return PayloadTooLarge(f"the request body is larger than {self.limit} bytes", hint=hint)


def _announced(scope: Scope) -> int:
    # The parser has refused lengths that are not numbers, and two that differ.
    return max((int(v) for v in header_values(scope, b"content-length") if v.isdigit()), default=0)


class _Body:
    """Receives one body and counts its bytes."""

    def __init__(self, receive: Receive, limit: BodyLimitMiddleware, caller: Hashable) -> None:
        self.caller = caller
        self.held = 0
        self._receive = receive
        self._limit = limit
        self._more = True
        self._started = time.monotonic()

    async def receive(self) -> Message:
        """The next piece. Raises PayloadTooLarge, QueueFull, or InvalidRequest if it takes too long."""
        if not self._more:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._timeout())
        except asyncio.TimeoutError:
            raise InvalidRequest("timed out while reading the request body") from None
        self._more = bool(message.get("more_body", False))
        self._count(len(message.get("body", b"")))
        return message

    def _timeout(self) -> float:
        limit = self._limit
        due = self._started + limit.max_pause + self.held / limit.min_rate
        return max(min(limit.max_pause, due - time.monotonic()), 0.0)

    def _count(self, size: int) -> None:
        limit = self._limit
        self.held += size
        limit.count(self.caller, size)
        most = MAX_IN_PROGRESS * limit.limit
        if self.held > limit.limit:
            raise limit.too_large()
        if limit.held_by[self.caller] > most // 2:
            raise QueueFull("the bodies of your requests in progress are too large together", retry_after=5)
        if limit.held > most:
            raise QueueFull("the bodies of all requests in progress are too large together", retry_after=5)
