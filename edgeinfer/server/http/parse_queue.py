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
"""Requests whose handling begins before anything else gets its turn; one of them may be of those that sent more."""


class Parsing(Protocol):
    """A connection with bytes to parse."""

    def parse_slice(self) -> bool:
        """Parse up to MAX_SLICE bytes; True if there are more."""
        ...


class ParseQueue:
    """The connections of a server that have something to parse.

    Those that wait with their first request go before those that have sent several at once.
    """

    def __init__(self) -> None:
        self.started = 0
        """Requests whose handling has begun; connections count them."""
        self._first: OrderedDict[Parsing, None] = OrderedDict()
        self._more: OrderedDict[Parsing, None] = OrderedDict()

    def add(self, connection: Parsing, *, has_sent_more: bool = False) -> None:
        """Parse what `connection` has; `has_sent_more`: it was sent together with a request before it."""
        if not self._first and not self._more:
            asyncio.get_running_loop().call_soon(self._run)
        if connection not in self._first and connection not in self._more:
            (self._more if has_sent_more else self._first)[connection] = None

    def _run(self) -> None:
        end, started = time.monotonic() + MAX_RUN, self.started
        try:
            while (self._first or self._more) and time.monotonic() < end:
                if (begun := self.started - started) >= MAX_STARTS:
                    break
                self._parse_one(self._more if not self._first or begun == MAX_STARTS - 1 else self._first)
        finally:  # a bug in one connection must not stop all
            if self._first or self._more:
                asyncio.get_running_loop().call_soon(self._run)

    def _parse_one(self, waiting: OrderedDict[Parsing, None]) -> None:
        connection, _ = (waiting or self._first).popitem(last=False)
        if connection.parse_slice():
            self._more[connection] = None
