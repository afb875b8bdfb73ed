"""What a worker writes to stderr: nothing while it lives, and then llama.cpp's assertion or Python's stack."""

from __future__ import annotations

import asyncio
import logging
import re

log = logging.getLogger("edgeinfer.worker")

CAUSE = re.compile(r"GGML_ASSERT|GGML_ABORT|ggml_abort|what\(\):|Fatal Python error|[Ee]rror")
"""In a line that says why the process dies; stacks follow it."""

LONGEST_LINE = 4096


class LastWords:
    """Logs every line. `cause` is the one that says most."""

    def __init__(self) -> None:
        self.cause = ""

    async def listen(self, stderr: asyncio.StreamReader) -> None:
        """To its end, hence the process's."""
        rest = b""
        while data := await stderr.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(line)
            if len(rest) > LONGEST_LINE:
                self._hear(rest)
                rest = b""
        if rest:
            self._hear(rest)

    def _hear(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if not self.cause and CAUSE.search(text):
            self.cause = text
        log.warning("stderr: %s", text)
