"""Runs a node's Ray, and runs it again when it ends by itself.

A node that is cut off for long counts as lost at the head, and Ray ends it when it hears of that: without this it would
never come back. It imports no Ray, so that it costs a board next to nothing.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

STARTED = b"Ray runtime started"
"""What Ray says once a node runs."""

PAUSE = 3.0
"""Seconds between an end and the next start."""

PR_SET_PDEATHSIG = 1


class Keeper:
    """Keeps one command running until it is told to stop."""

    def __init__(self, log: Path, command: Sequence[str]) -> None:
        """`log` gets what the command says, each time from the beginning."""
        self._log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """-> the exit status of the command, if it did not even start the first time; else 0, once it has stopped."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        started = False
        while not self._stopping:
            status = self._run_once()
            started = started or STARTED in self._log.read_bytes()
            if not started:
                return status
            self._pause()
        return 0

    def _run_once(self) -> int:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, preexec_fn=_end_with_the_keeper
            )
            if self._stopping:  # the signal came before there was a process to pass it on to
                self._process.terminate()
            return self._process.wait()

    def _pause(self) -> None:
        end = time.monotonic() + PAUSE
        while not self._stopping and time.monotonic() < end:
            time.sleep(0.1)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._process and self._process.poll() is None:
            self._process.terminate()


def _end_with_the_keeper() -> None:
    """A node without a keeper would be there, but no command would find it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(Keeper(Path(sys.argv[1]), sys.argv[2:]).run())
