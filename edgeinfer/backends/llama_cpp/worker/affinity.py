"""Pins a process to CPUs."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger("edgeinfer.worker")


def pin_to(cpus: Sequence[int]) -> None:
    """Run on these CPUs only, with all threads, also those that libraries start later. Has an effect on Linux alone."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        return
    try:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)
    except OSError as e:  # one of them is not there, or not allowed
        log.warning("the worker cannot be pinned to CPUs %s: %s", ", ".join(map(str, cpus)), e)
