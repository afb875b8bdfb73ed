"""uvicorn's HTTP protocol with timeouts for request heads and slow readers, and a limit of connections."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeinfer.errors import EdgeinferError, HeadersTooLarge, InvalidRequest
from edgeinfer.server.http import connections
from edgeinfer.server.http.connections import IdleConnections

RenderError = Callable[[EdgeinferError], bytes]


class TimeoutH11Protocol(H11Protocol):
    """Closes connections that are silent, send heads slowly (slowloris), keep sending, or do not read.

    If there are too many, the one that has been idle longest makes room. uvicorn itself times only the pause between two
    requests; BodyLimitMiddleware times bodies.
    """

    HEAD_TIMEOUT: ClassVar[float] = 20.0
    """Seconds from the connection, or from its last response, to the end of a request's head."""

    LINGER_TIMEOUT: ClassVar[float] = 5.0
    """Seconds for the rest of a request whose response came before its end."""

    STALL_TIMEOUT: ClassVar[float] = 30.0
    """Seconds in which a reader must take MIN_PROGRESS bytes of its response. Otherwise it is disconnected."""

    MIN_PROGRESS: ClassVar[int] = 16384

    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def __init__(
        self,
        *args: Any,
        max_connections: int,
        idle: IdleConnections,
        render_error: RenderError,
        **more: Any,
    ) -> None:
        """`idle` is shared by all connections of the server; `more` goes to uvicorn."""
        super().__init__(*args, **more)
        self._max_connections = max_connections
        self._idle = idle
        self._render_error = render_error

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = self.client or _peer(transport)
        if len(self.connections) > self._max_connections and not self._idle.cut():
            transport.abort()
            return
        self._idle.add(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._idle.discard(self.transport)
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def send_400_response(self, msg: str) -> None:
        """Send the error in JSON, as 431 if the head is too large; uvicorn would send plain text."""
        error: InvalidRequest | HeadersTooLarge = InvalidRequest(msg)
        if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431:
            error = HeadersTooLarge("the request's head is too large")
        body = self._render_error(error)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):  # a response has begun already
            for event in (
                h11.Response(status_code=error.status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Start or stop the timeout for what the client must send: a head, or the rest of an unread body."""
        cycle: Any = self.cycle  # None before the first request, although its type does not say so
        if cycle is not None and not cycle.response_complete:
            self._idle.discard(self.transport)
            self._disarm()
            return
        self._idle.add(self.transport)
        if self._deadline is None:
            answered = self.conn.their_state is h11.SEND_BODY
            self._expect(self.LINGER_TIMEOUT if answered else self.HEAD_TIMEOUT)

    def _expect(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._expire, self.transport.get_write_buffer_size())

    def _expire(self, before: int) -> None:
        if self.transport.is_closing() and self.transport.get_write_buffer_size() >= before:
            self.transport.abort()  # the client does not read the end of its response either
        else:
            self.transport.close()
            self._expect(self.LINGER_TIMEOUT)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _await_reader(self, before: int) -> None:
        self._stall = self.loop.call_later(self.STALL_TIMEOUT, self._judge_reader, before)

    def _judge_reader(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread > before - self.MIN_PROGRESS:
            self.transport.abort()
        else:
            self._await_reader(unread)


def _peer(transport: asyncio.Transport) -> tuple[str, int] | None:
    """The user at the other end of a unix socket, as "uid 1000"; None for other sockets."""
    peer: Any = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)  # Linux
    if option is None or peer is None or peer.family != socket.AF_UNIX:
        return None
    _pid, uid, _gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return f"uid {uid}", 0


def uvicorn_config(
    app: ASGIApp, *, render_error: RenderError, max_connections: int | None = None, **more: Any
) -> uvicorn.Config:
    """Configure uvicorn with this protocol and without its own log, which AccessLogMiddleware writes.

    `render_error` encodes errors that occur before there is a path. `max_connections`: None takes the default.
    """
    protocol = functools.partial(
        TimeoutH11Protocol,
        max_connections=max_connections or connections.MAX_CONNECTIONS,
        idle=IdleConnections(),
        render_error=render_error,
    )
    return uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **more,
    )
