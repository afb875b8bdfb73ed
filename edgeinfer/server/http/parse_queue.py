"""Lets connections parse what they have received in turns, so that those that send much do not delay the others."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Protocol

MAX_SLICE = 2048
"""Bytes that a connection parses before the next one gets its turn."""

MAX_RUN = 0.002
"""Seconds of parsing before anything else in the process gets its turn."""

MAX_STARTS = 4
"""Requests whose handling begins before anything else gets its turn."""


class Parsing(Protocol):
    """A connection with bytes to parse."""

    def parse_slice(self) -> bool:
        """Parse up to MAX_SLICE bytes; True if there are more."""
        ...


class ParseQueue:
    """The connections of a server that have something to parse."""

    def __init__(self) -> None:
        self.started = 0
        """Requests whose handling has begun; connections count them."""
        self._waiting: OrderedDict[Parsing, None] = OrderedDict()

    def add(self, connection: Parsing) -> None:
        """Parse what `connection` has, after the others that wait."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.setdefault(connection)

    def _run(self) -> None:
        end, enough = time.monotonic() + MAX_RUN, self.started + MAX_STARTS
        try:
            while self._waiting and time.monotonic() < end and self.started < enough:
                connection, _ = self._waiting.popitem(last=False)
                if connection.parse_slice():
                    self._waiting[connection] = None
        finally:  # a bug in one connection must not stop all
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._run)
