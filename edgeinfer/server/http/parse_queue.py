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


class Parsing(Protocol):
    """A connection with bytes to parse."""

    def parse_slice(self) -> bool:
        """Parse up to MAX_SLICE bytes; True if there are more."""
        ...


class ParseQueue:
    """The connections of a server that have something to parse."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Parsing, None] = OrderedDict()

    def add(self, connection: Parsing) -> None:
        """Parse what `connection` has: a first slice at once, unless others are waiting."""
        if connection in self._waiting:
            return
        if not self._waiting and not connection.parse_slice():
            return
        self._waiting[connection] = None
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        end = time.monotonic() + MAX_RUN
        while self._waiting and time.monotonic() < end:
            connection = next(iter(self._waiting))
            if connection.parse_slice():
                self._waiting.move_to_end(connection)
            else:
                del self._waiting[connection]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
