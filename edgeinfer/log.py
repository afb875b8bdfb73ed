"""Sets up the daemon's log: stderr, `LEVEL logger: message` or a JSON object, one line per record.

Messages may contain text of clients, so control characters are escaped: clients cannot forge a second line or move
the reader's cursor. Each line of a traceback begins like the first. Clients can also repeat what is logged, so each
statement that logs may do so a few times a second; the rest is counted.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal, TextIO

import msgspec

SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
REQUESTS = ("edgeinfer.access", "edgeinfer.hub.mirror")
"""Loggers of every request, which may write more."""

UNLIMITED = ("edgeinfer.prompts", "edgeinfer.audit")
"""Loggers of what somebody asked to have in full."""

MAX_LINES = 20, 2
"""Records of one statement: so many at once, and so many a second."""

MAX_REQUEST_BYTES = 20_000, 10_000
"""The same for the bytes of each of REQUESTS: 0.6 MB a minute."""

FIELDS = "fields"
"""The extra attribute of a record with values that JSON lines have by name."""

START_BYTES = 40
"""Bytes of a line before its message."""

PAUSE = 1.0
"""Seconds in which a statement logs nothing after it has reached its limit."""

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def setup(
    level: str,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    form: Literal["text", "json"] = "text",
) -> None:
    """Send all records of `level` and above to `stream` (stderr), replacing an earlier setup."""
    stream = stream or sys.stderr
    handler = LimitedHandler(stream)
    priorities = goes_to_the_journal(stream, environ)
    handler.setFormatter(JSONFormatter() if form == "json" else LineFormatter(priorities=priorities))
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


class LimitedHandler(logging.StreamHandler):  # type: ignore[type-arg]  # in Python 3.10 it takes none
    """Writes what the limits allow, and how much it has left out as soon as they allow that."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._statements: dict[tuple[str, int], _Statement] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno <= logging.DEBUG or record.name in UNLIMITED:
            super().emit(record)
            return
        statement = self._statements.setdefault((record.pathname, record.lineno), _Statement(record))
        if statement.may_log(record):
            if omitted := statement.take_omitted():
                super().emit(_note(record, omitted))
            super().emit(record)


class _Statement:
    """What one statement may still log: bytes for requests, else lines. It is refilled all the time."""

    def __init__(self, record: logging.LogRecord) -> None:
        self._counts_bytes = record.name in REQUESTS
        self._burst, self._rate = MAX_REQUEST_BYTES if self._counts_bytes else MAX_LINES
        self._left: float = self._burst
        self._refilled = time.monotonic()
        self._omitted = 0

    def may_log(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if self._left <= 0 and now - self._refilled < PAUSE:
            self._omitted += 1
            return False
        self._left = min(self._left + self._rate * (now - self._refilled), self._burst)
        self._refilled = now
        self._left -= len(record.getMessage()) + START_BYTES if self._counts_bytes else 1
        return True

    def take_omitted(self) -> int:
        """The number of records left out before this one, once."""
        omitted, self._omitted = self._omitted, 0
        if omitted and not self._counts_bytes:
            self._left -= 1  # the line that tells it
        return omitted


def _note(record: logging.LogRecord, omitted: int) -> logging.LogRecord:
    text = "%d more lines like the next were left out"
    return logging.LogRecord(
        record.name, record.levelno, record.pathname, record.lineno, text, (omitted,), None
    )


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


class JSONFormatter(logging.Formatter):
    """Formats a record as an object: time, level, logger, message, and what it has in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        content: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            content["stack"] = record.stack_info
        text = msgspec.json.encode(_encodable(content)).decode()
        return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)  # JSON lets some of them stand


def _encodable(value: Any) -> Any:
    """Replace halves of surrogate pairs, which a client may have sent, and which UTF-8 does not have."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return {name: _encodable(one) for name, one in value.items()} if isinstance(value, dict) else value


def escape(text: str) -> str:
    """Return `text` in one line without control characters: a newline becomes a backslash and an n."""
    return CONTROL.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    # Not by the codec unicode_escape: it is a file, and this must work when no more files can be opened.
    code = ord(character)
    return SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _priority(level: int) -> int:
    """Return syslog(3)'s number for a logging level."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for min_level, priority in steps if level >= min_level), 7)
