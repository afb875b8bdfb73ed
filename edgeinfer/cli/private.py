"""A daemon of one's own, for a `chat` that finds none running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from edgeinfer.cli.client import API_KEY, Target, connect, is_ready
from edgeinfer.errors import EdgeinferError, NotReady

TAIL = 12
"""Lines of a failed daemon's log that are shown."""

POLL = 0.05


@contextmanager
def private_daemon(model: str | None, load_timeout: float) -> Iterator[Target]:
    """Start `edgeinfer serve` on a socket only we can reach; stop it at the end.

    It has a session of its own, so that Ctrl-C reaches us alone, and our end of a pipe as its stdin, so
    that it stops even if we are killed.
    """
    with _orderly_end(), tempfile.TemporaryDirectory(prefix="edgeinfer-") as folder:  # mode 0700
        target = Target("http://localhost", uds=f"{folder}/s")
        log = Path(folder, "log")
        process = _start(["--uds", f"{folder}/s", *(["--model", model] if model else [])], log)
        try:
            _wait_until_ready(target, process, log, load_timeout)
            yield target
        finally:
            _stop(process)


def _start(options: list[str], log: Path) -> subprocess.Popen[bytes]:
    leave_out = {API_KEY, "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "edgeinfer", "serve", "--private", *options],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in leave_out},
        )


def _wait_until_ready(target: Target, process: subprocess.Popen[bytes], log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    with connect(target) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                _fail(f"the daemon for this chat stopped (exit code {process.returncode})", log)
            try:
                if is_ready(client, target):
                    return
            except NotReady:  # it does not listen yet
                pass
            except EdgeinferError as e:
                _fail(e.message, log)
            time.sleep(POLL)
    _fail(f"the model was not loaded within {timeout:g} s", log)


def _fail(what: str, log: Path) -> NoReturn:
    lines = log.read_text(errors="replace").rstrip().split("\n")
    tail = "".join(f"\n  {line}" for line in lines[-TAIL:])
    raise EdgeinferError(f"{what}; its log ends with:{tail}", hint="see all of it: edgeinfer serve")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Nobody waits for an answer any more: no drain, only the moment an orderly end takes."""
    with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):  # Ctrl-C here: on to the kill
        process.terminate()
        process.wait(5.0)
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin:
        process.stdin.close()


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM and a closed terminal end us as an exception does: what was started is stopped."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
