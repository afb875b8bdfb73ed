"""Reads a worker's stderr: silent while it lives, then llama.cpp's assertion or Python's stack."""

from __future__ import annotations

import asyncio
import logging
import re

log = logging.getLogger("edgeinfer.worker")

CAUSE = re.compile(r"GGML_ASSERT|GGML_ABORT|ggml_abort|what\(\):|Fatal Python error|[Ee]rror")
"""Found in a line that says why the process dies; stacks follow that line."""

MAX_LINE = 4096
"""Bytes of a line that are kept."""

STACK = re.compile(r"(Current thread|Thread) 0x|\s+File |Extension modules")

MAX_WARNINGS = 3
"""Lines that are logged as warnings. The rest, and stacks, are logged for debugging: a crash must not fill the log."""

MAX_LINES = 1000


class StderrTail:
    """Logs the lines, and keeps the one that says most as `cause`."""

    def __init__(self) -> None:
        self.cause = ""
        self._lines = 0

    async def read(self, stderr: asyncio.StreamReader) -> None:
        """Read until the stream ends, and so the process."""
        rest = b""
        while data := await stderr.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._add(line)
            if len(rest) > MAX_LINE:
                self._add(rest)
                rest = b""
        if rest:
            self._add(rest)

    def _add(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode("utf-8", "replace").rstrip()
        if not self.cause and CAUSE.search(text):
            self.cause = text
        if not text or self._lines >= MAX_LINES:
            return
        self._lines += 1
        is_warning = self._lines <= MAX_WARNINGS and not STACK.match(text)
        log.log(logging.WARNING if is_warning else logging.DEBUG, "stderr: %s", text)
