"""Which CPUs a process runs on."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger("edgeinfer.worker")


def keep_to(cpus: Sequence[int]) -> None:
    """Run on these CPUs only, with the threads that libraries have and will have. Linux alone lets us say so."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        return
    try:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)
    except OSError as e:  # one of them is not there, or not for us
        log.warning("the worker cannot keep to CPUs %s: %s", ", ".join(map(str, cpus)), e)
