"""Tells a client that only sends no more from one that is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import ClassVar

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response, for which clients of HTTP/1.1 are prepared at any time before the response."""


class HalfClosedConnection:
    """Watches a connection whose client has ended its side: by shutdown, and it reads on, or by closing it.

    The two look alike until something is sent: a closed one answers with a reset. So interim responses are sent as long
    as nothing else is.
    """

    PROBE_INTERVAL: ClassVar[float] = 10.0
    """Seconds between two interim responses."""

    FIRST_LOOK: ClassVar[float] = 0.02
    """Seconds from an interim response to the first look for its reset; each further one takes twice as long."""

    def __init__(self, transport: asyncio.Transport, may_probe: Callable[[], bool]) -> None:
        """`may_probe` tells if the client can take an interim response now."""
        self._transport = transport
        self._may_probe = may_probe
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_soon(self._probe)

    def close(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _probe(self) -> None:
        if self._may_probe():
            self._transport.write(CONTINUE)
        self._timer = self._loop.call_later(self.FIRST_LOOK, self._look, self.FIRST_LOOK)

    def _look(self, wait: float) -> None:
        # Nobody reads any more, so the event loop would see the reset only when it writes again.
        connection: socket.socket = self._transport.get_extra_info("socket")
        if connection.fileno() < 0:
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
        elif 2 * wait < self.PROBE_INTERVAL:
            self._timer = self._loop.call_later(wait, self._look, 2 * wait)
        else:
            self._timer = self._loop.call_later(wait, self._probe)
