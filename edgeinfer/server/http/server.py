"""uvicorn, with our protocol and listeners: the HTTP server of the daemon and of the mirror."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from edgeinfer.server.http.connections import OpenConnections
from edgeinfer.server.http.listener import Listener
from edgeinfer.server.http.parse_queue import ParseQueue
from edgeinfer.server.http.protocol import RenderError, TimeoutProtocol

KEEP_ALIVE = 75
"""Seconds between two requests of a connection; more than proxies wait, so that theirs end first (nginx: 60)."""


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
