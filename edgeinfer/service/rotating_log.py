"""A log file of limited size, with a time stamp before every line."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

MAX_LOG_BYTES = 4 << 20
"""Size after which a new file begins. The previous one is kept."""

MAX_LINE_BYTES = 1 << 16


class RotatingLog:
    """Writes and rotates a log. Lines that cannot be written are lost, so that a full disk does not stop the daemon."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._rest = b""
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """Log output that arrives in pieces of any size."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Complete the last line, as no more output follows."""
        if self._rest:
            self.write(b"\n")

    def note(self, text: str) -> None:
        """Log a message of the monitor itself."""
        self.end()
        self._line(f"edgeinfer: {text}".encode())

    def close(self) -> None:
        os.close(self._file)

    def _line(self, line: bytes) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z ").encode()
        with contextlib.suppress(OSError):
            os.write(self._file, stamp + line + b"\n")
            if os.fstat(self._file).st_size > self._max_bytes:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                os.close(self._file)
                self._file = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
