"""The daemon's log."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer import log


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def logged(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    log.setup(level, stream, {})
    return stream


def test_a_record_is_one_line_with_level_and_logger() -> None:
    """The line can be read and searched."""
    stream = logged()
    logging.getLogger("edgeinfer.server").warning("%d left", 3)
    assert stream.getvalue() == "WARNING edgeinfer.server: 3 left\n"


def test_records_below_the_level_are_not_written() -> None:
    """log_level is the least severe level that is written."""
    stream = logged("error")
    logging.getLogger("edgeinfer").warning("no")
    logging.getLogger("edgeinfer").error("yes")
    assert stream.getvalue() == "ERROR edgeinfer: yes\n"


def test_a_message_cannot_forge_a_line_or_drive_the_terminal() -> None:
    """Newlines and control characters in text of clients are escaped."""
    stream = logged()
    logging.getLogger("x").info("a\nERROR root: b\r\x1b[2J\x9b1A\u2028c")
    assert stream.getvalue() == "INFO x: a\\nERROR root: b\\r\\x1b[2J\\x9b1A\\u2028c\n"


def test_every_line_of_a_traceback_starts_like_the_first() -> None:
    """The message of an exception cannot forge one either."""
    stream = logged()
    try:
        raise ValueError("bad\nINFO x: all is well")
    except ValueError:
        logging.getLogger("x").exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "ERROR x: failed"
    assert all(line.startswith("ERROR x: | ") for line in lines[1:])
    assert lines[-1] == "ERROR x: | INFO x: all is well"


def test_uvicorn_writes_through_our_handler_once() -> None:
    """Its loggers have handlers of their own, which are removed."""
    logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler(io.StringIO()))
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)  # a server before may have set another
    stream = logged()
    logging.getLogger("uvicorn.error").info("Started")
    assert stream.getvalue() == "INFO uvicorn.error: Started\n"
    assert logging.getLogger("uvicorn.error").handlers == []


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (50, "<2>"),
    ],
)
def test_the_journal_gets_priorities(level: int, prefix: str, tmp_path: Path) -> None:
    """sd-daemon(3) priorities let `journalctl -p err` find errors."""
    with (tmp_path / "stderr").open("w") as stream:
        stat = os.fstat(stream.fileno())
        log.setup("debug", stream, {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
        logging.getLogger("x").log(level, "hello")
    assert (tmp_path / "stderr").read_text().startswith(prefix)


def test_a_stream_that_the_journal_does_not_read_gets_no_priorities(tmp_path: Path) -> None:
    """JOURNAL_STREAM is inherited by all processes of a service, and names one file."""
    with (tmp_path / "stderr").open("w") as stream:
        assert not log.goes_to_the_journal(stream, {"JOURNAL_STREAM": "1:1"})
    assert not log.goes_to_the_journal(io.StringIO(), {"JOURNAL_STREAM": "1:1"})


def test_warnings_are_logged(recwarn: pytest.WarningsRecorder) -> None:
    """Python's own warnings go to the log too."""
    stream = logged()
    logging.getLogger("py.warnings").warning("old")
    assert stream.getvalue() == "WARNING py.warnings: old\n"
