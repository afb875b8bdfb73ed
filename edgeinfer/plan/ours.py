"""The memory that running workers of ours hold."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import psutil
from msgspec.structs import replace

from edgeinfer.hardware import HardwareProfile

WORKER = ("-m", "edgeinfer.backends.llama_cpp.worker.process")


def without_us(profile: HardwareProfile) -> HardwareProfile:
    """This machine as it would be with no worker running: what they hold counts as available.

    For a plan that is made while the service runs, and comes true once it is started anew.
    """
    memory = profile.memory
    if memory.available is None:
        return profile
    free = memory.available + held()
    most = memory.limit or memory.total
    return replace(profile, memory=replace(memory, available=free if most is None else min(free, most)))


def held(processes: Iterable[psutil.Process] | None = None) -> int:
    """Bytes that the workers among them (None: all that run) would give back, as far as we may see them."""
    total = 0
    for process in psutil.process_iter() if processes is None else processes:
        with suppress(psutil.Error):  # it is gone, or not ours to look at
            if WORKER in pairwise(process.cmdline()):
                used = process.memory_info()
                total += max(0, used.rss - getattr(used, "shared", 0))
    return total
