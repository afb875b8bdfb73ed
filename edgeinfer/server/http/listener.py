"""Accepts connections and counts them before they cost anything: a protocol, or a TLS handshake."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edgeinfer.server.http.connections import OpenConnections

BURST = 100
"""Connections that are accepted before anything else gets its turn."""

STARTS, HANDSHAKES = 16, 4
"""Connections that are established before anything else gets its turn, without and with TLS."""

PAUSE = 0.5
"""Seconds without accepting after descriptors or memory have run out."""

LOG_INTERVAL = 60.0

TLS_SHUTDOWN_TIMEOUT = 5.0
"""Seconds in which the other side must confirm that a TLS connection ends."""

ProtocolFactory = Callable[[float], asyncio.BaseProtocol]
"""Makes the protocol of a connection from the loop's time by which it must have sent a request's head."""

logger = logging.getLogger(__name__)


class Listener:
    """Accepts the connections of one listening socket; uvicorn closes it like an asyncio server."""

    def __init__(
        self,
        sock: socket.socket,
        connections: OpenConnections,
        make_protocol: ProtocolFactory,
        *,
        head_timeout: float,
        context: ssl.SSLContext | None,
    ) -> None:
        self.connections = connections
        self.make_protocol = make_protocol
        self.head_timeout = head_timeout
        self.context = context
        self.arrivals: set[_Arrival] = set()
        self._waiting: deque[_Arrival] = deque()
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._resume: asyncio.TimerHandle | None = None
        self._logged = -LOG_INTERVAL
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Stop accepting, and close connections that have not said anything."""
        self._loop.remove_reader(self._sock)
        if self._resume:
            self._resume.cancel()
        for arrival in list(self.arrivals):
            arrival.abort()

    def enqueue(self, arrival: _Arrival) -> None:
        """Establish a connection in its turn: it takes part of a millisecond, with TLS one or more."""
        self._waiting.append(arrival)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._establish_next)

    def _establish_next(self) -> None:
        for _ in range(min(STARTS if self.context is None else HANDSHAKES, len(self._waiting))):
            self._waiting.popleft().establish()
        if self._waiting:
            self._loop.call_soon(self._establish_next)

    async def wait_closed(self) -> None:
        """Do nothing: the connections themselves are uvicorn's to wait for."""

    def _accept(self) -> None:
        for _ in range(BURST):
            try:
                sock, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as e:
                self._make_room(e)
                return
            sock.setblocking(False)
            if _is_open(sock):
                _Arrival(sock, self)
            else:
                sock.close()  # it has come and gone; nobody else should make room for it

    def _make_room(self, error: OSError) -> None:
        """Close an idle connection, or else wait: trying again at once would fail again at once."""
        if time.monotonic() - self._logged >= LOG_INTERVAL:
            self._logged = time.monotonic()
            logger.error("cannot accept all connections: %s", error.strerror)
        if not self.connections.cut():
            self._loop.remove_reader(self._sock)
            self._resume = self._loop.call_later(PAUSE, self._loop.add_reader, self._sock, self._accept)


class _Arrival:
    """A connection before its first byte, and then until its TLS handshake is complete."""

    def __init__(self, sock: socket.socket, listener: Listener) -> None:
        self._sock = sock
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._has_transport = False
        self._due = self._loop.time() + listener.head_timeout
        if not listener.connections.admit(self):
            sock.close()
            return
        listener.arrivals.add(self)
        self._timer = self._loop.call_at(self._due, self.abort)
        self._loop.add_reader(sock, self._begin)

    def abort(self) -> None:
        if self._task:
            self._task.cancel()
        if not self._has_transport:  # a task that is cancelled before it begins does not close anything
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._end()

    def _begin(self) -> None:
        if _is_open(self._sock):
            self._loop.remove_reader(self._sock)
            self._listener.enqueue(self)
        else:
            self.abort()

    def establish(self) -> None:
        """Make a transport and a protocol for it."""
        if self in self._listener.arrivals:
            self._task = self._loop.create_task(self._establish())

    async def _establish(self) -> None:
        self._has_transport = True
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._listener.make_protocol(self._due), self._sock, **self._tls_options()
            )
        except OSError:  # no TLS, or no answer in time; ssl.SSLError is one
            pass
        finally:
            self._end()

    def _tls_options(self) -> dict[str, Any]:
        if self._listener.context is None:
            return {}
        options = {
            "ssl": self._listener.context,
            "ssl_handshake_timeout": max(self._due - self._loop.time(), 0.1),
        }
        if sys.version_info >= (3, 11):
            options["ssl_shutdown_timeout"] = TLS_SHUTDOWN_TIMEOUT
        return options

    def _end(self) -> None:
        self._timer.cancel()
        self._listener.arrivals.discard(self)
        self._listener.connections.discard(self)


def _is_open(sock: socket.socket) -> bool:
    """False if the other side has closed or reset the connection before its first byte."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return False
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
