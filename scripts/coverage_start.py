"""Measures coverage in every Python process that runs this; `scripts/test --coverage` makes all of them do so.

coverage's own patch for subprocesses would not reach the children whose environment the daemon cuts down, and
nothing of what it measures in a process outlives a SIGKILL, which is how the daemon ends children that do risky
things. So this starts in every process of the environment, and saves now and then.
"""

from __future__ import annotations

import atexit
import contextlib
import resource
import sys
import threading
import time
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[1]

SAVE_EVERY = 0.5  # seconds


def start() -> None:
    """Measure this process to its end."""
    measurement = coverage.Coverage(
        data_file=str(ROOT / ".coverage"), data_suffix=True, config_file=str(ROOT / "pyproject.toml")
    )
    measurement.start()
    atexit.register(_finish, measurement)
    if any(word.startswith("edgeinfer") for word in sys.orig_argv[1:]):  # python -m edgeinfer...
        _keep_files_writable()
        threading.Thread(target=_save_often, args=(measurement,), daemon=True).start()


def _finish(measurement: coverage.Coverage) -> None:
    measurement.stop()
    with contextlib.suppress(Exception):
        measurement.save()


def _save_often(measurement: coverage.Coverage) -> None:
    while True:
        time.sleep(SAVE_EVERY)
        with contextlib.suppress(
            Exception
        ):  # it may be killed, or short of memory or descriptors, at any moment
            measurement.save()


def _keep_files_writable() -> None:
    """The children forbid themselves to write files; ours is one."""
    limit = resource.setrlimit

    def setrlimit(number: int, limits: tuple[int, int]) -> None:
        if number != resource.RLIMIT_FSIZE:
            limit(number, limits)

    resource.setrlimit = setrlimit


start()
