"""Sets up the daemon's log: stderr, `LEVEL logger: message`, one line per record.

Messages may contain text of clients, so control characters are escaped: clients cannot forge a second line or move
the reader's cursor. Each line of a traceback begins like the first.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def setup(level: str, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Send all records of `level` and above to `stream` (stderr), replacing an earlier setup."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(priorities=goes_to_the_journal(stream, environ)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in UVICORN:  # uvicorn has handlers of its own by default
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)


def goes_to_the_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether systemd's journal reads `stream`: the inherited JOURNAL_STREAM must name this very file."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


class LineFormatter(logging.Formatter):
    """Formats `LEVEL logger: message`, with sd-daemon(3)'s `<N>` in front for the journal."""

    def __init__(self, *, priorities: bool = False) -> None:
        super().__init__()
        self.priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        start = f"{record.levelname} {record.name}: "
        if self.priorities:
            start = f"<{_priority(record.levelno)}>" + start
        lines = [record.getMessage()]
        if record.exc_info:
            lines += [f"| {line}" for line in self.formatException(record.exc_info).split("\n")]
        if record.stack_info:
            lines += [f"| {line}" for line in record.stack_info.split("\n")]
        return "\n".join(start + escape(line) for line in lines)


def escape(text: str) -> str:
    """Return `text` in one line without control characters: a newline becomes a backslash and an n."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _priority(level: int) -> int:
    """Return syslog(3)'s number for a logging level."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for min_level, priority in steps if level >= min_level), 7)
