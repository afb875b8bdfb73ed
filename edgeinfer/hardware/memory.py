"""Detects RAM, and what a cgroup allows of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware import cgroup
from edgeinfer.hardware.root_files import number, read_text


class Memory(msgspec.Struct, frozen=True):
    """Memory of a machine, in bytes.

    Attributes:
        available: RAM available without swapping, within `limit`.
        limit: limit of the cgroup, if it is below `total`.
        swap: swap space on disks, used or free.
    """

    total: int | None
    available: int | None
    limit: int | None
    swap: int | None = None


def memory(root: Path) -> Memory:
    """Return the memory of the machine whose /proc and /sys are under `root`."""
    info = parse_meminfo(read_text(root / "proc/meminfo") or "")
    limit = cgroup.memory(root)
    total, available, swap = info.get("MemTotal"), info.get("MemAvailable"), info.get("SwapTotal")
    if limit is not None and total is not None and limit >= total:
        limit = None  # as good as none
    if limit is not None and available is not None:
        available = min(available, cgroup.memory_left(root) or 0)
    max_swap = cgroup.swap(root)
    if swap is not None:
        swap = max(0, swap - zram(read_text(root / "proc/swaps") or ""))
        swap = min(swap, max_swap) if max_swap is not None else swap
    return Memory(total, available, limit, swap)


def zram(text: str) -> int:
    """Return the bytes of swap in /proc/swaps that are compressed RAM: they hold no more than the RAM they take."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return sum(number(row[2], 1024) or 0 for row in rows if len(row) >= 3 and "/zram" in row[0])


def parse_meminfo(text: str) -> dict[str, int]:
    """Parse /proc/meminfo to bytes."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        amount = number(words[0], 1024 if words[1:] == ["kB"] else 1) if words else None
        if amount is not None:
            values[name] = amount
    return values
