"""The daemon's log."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
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


def test_what_is_logged_again_and_again_is_counted_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients can repeat most of what makes a line; the others are written meanwhile."""
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    stream = logged()
    logger = logging.getLogger("edgeinfer.x")
    for n in range(1000):
        logger.warning("no. %d", n)
    logger.warning("another")
    lines = stream.getvalue().splitlines()
    assert (len(lines), lines[-1]) == (log.MAX_LINES[0] + 1, "WARNING edgeinfer.x: another")
    clock += 60
    stream.truncate(0)
    for _ in range(61):
        for _ in range(50):
            logger.error("again")
        clock += 1
    lines = [line for line in stream.getvalue().splitlines() if "again" in line]
    assert 60 < len(lines) < log.MAX_LINES[0] + 61 * log.MAX_LINES[1]
    assert "ERROR edgeinfer.x: 49 more lines like the next were left out\n" in stream.getvalue()


def test_requests_may_write_more_but_not_everything() -> None:
    """Ten a second are all there; thousands do not fill the disk."""
    stream = logged()
    access = logging.getLogger("edgeinfer.access")
    for n in range(100):
        access.info("GET /v1/models 200 %d", n)
    assert len(stream.getvalue().splitlines()) == 100
    for _ in range(20_000):
        access.info("GET /v1/models 200 %s", "x" * 50)
    assert len(stream.getvalue()) < 2 * log.MAX_REQUEST_BYTES[0]
    assert log.MAX_REQUEST_BYTES[1] * 60 < 1e6


@pytest.mark.parametrize("name", ["edgeinfer.prompts", "edgeinfer.audit"])
def test_what_was_asked_for_is_written_in_full(name: str) -> None:
    """Prompts, and who changed what."""
    stream = logged()
    for n in range(100):
        logging.getLogger(name).info("%d", n)
    assert len(stream.getvalue().splitlines()) == 100


def test_a_message_is_escaped_when_no_file_can_be_opened() -> None:
    """A codec of the standard library would be one, and its lack an error in the log of the error."""
    code = (
        "import logging, resource; from edgeinfer import log; log.setup('info');"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); logging.error('a\\n\\x1b\\u2028')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "ERROR root: a\\n\\x1b\\u2028\n"
