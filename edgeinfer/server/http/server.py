"""uvicorn, with our protocol and listeners: the HTTP server of the daemon and of the mirror."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from edgeinfer.server.http.connections import OpenConnections
from edgeinfer.server.http.listener import Listener
from edgeinfer.server.http.parse_queue import ParseQueue
from edgeinfer.server.http.protocol import RenderError, TimeoutProtocol

KEEP_ALIVE = 75
"""Seconds between two requests of a connection; more than proxies wait, so that theirs end first (nginx: 60)."""

TICK = 1.0
"""Seconds between two updates of the `date` header."""


class HTTPServer(uvicorn.Server):
    """Serves `app` on sockets that already listen; AccessLogMiddleware, not uvicorn, logs requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        render_error: RenderError,
        max_connections: int | None = None,
        context: ssl.SSLContext | None = None,
        **more: Any,
    ) -> None:
        """`render_error` encodes errors that occur before there is a path; `more` goes to uvicorn."""
        self._wake: Callable[[], object] = lambda: None
        config = uvicorn.Config(
            app,
            http=TimeoutProtocol,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            **more,
        )
        super().__init__(config)
        self._context = context
        self._connections = OpenConnections(max_connections)
        self._parse_queue = ParseQueue()
        self._render_error = render_error

    @property
    def should_exit(self) -> bool:
        """The server begins to stop as soon as this is set, also by a signal or in another thread."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        self._wake()

    async def main_loop(self) -> None:
        """Wait until the server should exit, without looking ten times a second as uvicorn does."""
        changed, loop = asyncio.Event(), asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(changed.set)
        try:
            while not await self.on_tick(0):
                tick = loop.call_later(TICK, changed.set)
                await changed.wait()
                tick.cancel()
                changed.clear()
        finally:
            self._wake = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self.servers += [
            Listener(  # type: ignore[misc]  # uvicorn only closes it
                sock,
                self._connections,
                self._make_protocol,
                head_timeout=TimeoutProtocol.HEAD_TIMEOUT,
                context=self._context,
            )
            for sock in sockets or []
        ]

    def _make_protocol(self, due: float) -> TimeoutProtocol:
        return TimeoutProtocol(
            self.config,
            self.server_state,
            self.lifespan.state,
            connections=self._connections,
            parse_queue=self._parse_queue,
            render_error=self._render_error,
            due=due,
        )
