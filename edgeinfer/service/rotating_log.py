"""A log file that does not grow for ever, with the time before every line."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

LIMIT = 4 << 20
"""Bytes of a log, after which a new one begins. The one before it is kept."""

LONGEST_LINE = 1 << 16


class RotatingLog:
    """What cannot be written is lost: a full disk is no reason to end what is logged."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._rest = b""
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """Output as it comes, in any pieces."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Nothing more will come of the last line."""
        if self._rest:
            self.write(b"\n")

    def say(self, text: str) -> None:
        """A line of our own."""
        self.end()
        self._line(f"edgeinfer: {text}".encode())

    def close(self) -> None:
        os.close(self._file)

    def _line(self, line: bytes) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z ").encode()
        with contextlib.suppress(OSError):
            os.write(self._file, stamp + line + b"\n")
            if os.fstat(self._file).st_size > self._limit:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                os.close(self._file)
                self._file = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
