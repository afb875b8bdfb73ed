"""Reads what a vLLM process writes: its log, the progress of loading, and the error that ended it."""

from __future__ import annotations

import asyncio
import logging
import re

log = logging.getLogger("edgeinfer.vllm")

ERROR = re.compile(
    r"\b(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt): .+|error: argument .+|error: unrecognized .+"
)
"""The last line of a Python traceback, or argparse's complaint."""

CONSEQUENCE = re.compile(r"Engine core initialization failed|EngineDeadError|core proc .* died")
"""In errors that only say that another process had one."""

MATCHER_ERROR = "LLMatcher error"
"""llguidance has exceeded a limit, or does not understand a token."""

PROGRESS = re.compile(r"checkpoint shards:\s+(\d+)%")

PREFIX = re.compile(r"^\((?:\w+ )?\w+(?: pid=\d+)?\) ")
"""The name of the process before a line."""

LEVEL = re.compile(r"^(ERROR|WARNING|CRITICAL) ")

MAX_LINE = 4096
MAX_CAUSE = 400
MAX_WARNINGS = 20
"""Lines that are logged as warnings; the rest is logged for debugging."""


class LogTail:
    """Logs the lines.

    Attributes:
        matcher_errors: how often a grammar was given up. vLLM only logs that, and lets the answer end anywhere.
        cause: the first error; "" if there was none.
        progress: the share of the weights that has been read; None before.
    """

    def __init__(self) -> None:
        self.cause = ""
        self.matcher_errors = 0
        self.progress: float | None = None
        self._consequence = ""
        self._warnings = 0

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read until the stream ends, and so all processes that have it."""
        rest = b""
        while data := await stream.read(1 << 16):
            *lines, rest = re.split(rb"[\r\n]", rest + data)
            for line in lines:
                self._add(line)
            if len(rest) > MAX_LINE:
                self._add(rest)
                rest = b""
        self._add(rest)

    @property
    def reason(self) -> str:
        """The line that says most about why the process ended."""
        return self.cause or self._consequence

    def clear(self) -> None:
        """Forget errors so far: the process has come through them."""
        self.cause = self._consequence = ""

    def _add(self, line: bytes) -> None:
        text = PREFIX.sub("", line[:MAX_LINE].decode("utf-8", "replace").rstrip())
        if not text:
            return
        self.matcher_errors += MATCHER_ERROR in text
        if match := PROGRESS.search(text):
            self.progress = int(match[1]) / 100
        if match := ERROR.search(text):
            if CONSEQUENCE.search(text):
                self._consequence = self._consequence or match[0][:MAX_CAUSE]
            else:
                self.cause = self.cause or match[0][:MAX_CAUSE]
        is_warning = LEVEL.match(text) is not None and self._warnings < MAX_WARNINGS
        self._warnings += is_warning
        log.log(logging.WARNING if is_warning else logging.DEBUG, "%s", text)
