"""Watches how much of the machine other programs use, while something is measured."""

from __future__ import annotations

import os
import resource
import time

import psutil

IDLE_TIMES = ("idle", "iowait", "guest", "guest_nice")
"""Times in which nothing is computed, or that another field counts already."""


class LoadWatch:
    """Compares the machine's processor time with that of this process and the children that it has waited for."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._machine = _machine_seconds()
        self._own = _own_seconds()

    def others(self) -> float:
        """Return the share of all cores that other programs have used since the start, 0 to 1."""
        elapsed = max(time.monotonic() - self._started, 1e-3)
        used = (_machine_seconds() - self._machine) - (_own_seconds() - self._own)
        return min(1.0, max(0.0, used / elapsed / (os.cpu_count() or 1)))


def _machine_seconds() -> float:
    times = psutil.cpu_times()._asdict()
    return float(sum(seconds for name, seconds in times.items() if name not in IDLE_TIMES))


def _own_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
