"""Streams events in the format of the family, server-sent or otherwise; the first one decides the status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edgeinfer.errors import EdgeinferError
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.errors import public_error
from edgeinfer.server.http.family import Family, family_of

KEEP_ALIVE_INTERVAL = 10.0
"""Seconds without an event after which a keep-alive is sent."""

HEADERS = [
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx buffers events
]


class EventStream(Response):
    """Sends the events of the generator that `start` returns.

    An error before the first event is raised, so that it has its own HTTP status; a later one becomes an event. If the
    first event takes long (a model that loads, a long prompt), the family's keep-alive starts the response.
    The generator is closed when the client disconnects, which cancels the work behind it.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[AsyncGenerator[bytes, None]]],
        quiet: float = KEEP_ALIVE_INTERVAL,
        *,
        keep_alive: Callable[[], bytes] | None = None,
        error: Callable[[EdgeinferError], bytes] | None = None,
    ) -> None:
        """`keep_alive` and `error` make what this stream sends instead of its family's comment and error event."""
        self.start = start
        self.quiet = quiet
        self.keep_alive = keep_alive
        self.error = error
        self.background = None  # FastAPI looks at these two
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        family = family_of(scope)
        request_id = scope.get("edgeinfer.id")
        await cancel_on_disconnect(receive, self._stream(_Writer(send, family), family, request_id))

    async def _stream(self, writer: _Writer, family: Family, request_id: str | None) -> None:
        sign = self.keep_alive or (lambda: family.keep_alive)
        quiet = not (self.keep_alive or family.keep_alive)
        tickers = [] if quiet else [asyncio.create_task(self._keep_alive(writer, sign))]
        try:
            async with aclosing(await self.start()) as events:
                async for event in events:
                    await writer.write(event)
        except Exception as e:
            if not writer.started:
                raise
            error = public_error(e)
            error.request_id = request_id
            await writer.write((self.error or family.stream_error)(error))
        finally:
            for ticker in tickers:
                ticker.cancel()
            await asyncio.gather(*tickers, return_exceptions=True)
        await writer.end()

    async def _keep_alive(self, writer: _Writer, keep_alive: Callable[[], bytes]) -> None:
        while True:
            await asyncio.sleep(max(self.quiet - writer.idle(), 0.01))
            if writer.idle() >= self.quiet:
                await writer.write(keep_alive())


class _Writer:
    """Sends the response, which begins with the first bytes; only one task writes at a time."""

    def __init__(self, send: Send, family: Family) -> None:
        self.started = False
        self._headers = [(b"content-type", family.stream_type.encode()), *HEADERS]
        self._send = send
        self._lock = asyncio.Lock()
        self._last = time.monotonic()

    def idle(self) -> float:
        return time.monotonic() - self._last

    async def write(self, data: bytes) -> None:
        async with self._lock:
            self._last = time.monotonic()
            if not self.started:
                self.started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
