"""RAM, and what a cgroup leaves of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware import cgroup
from edgeinfer.hardware.root_files import number, read_text


class Memory(msgspec.Struct, frozen=True):
    """Bytes. `available` is what can be had without swapping, within `limit` where a cgroup sets one.

    `swap` is what there is of it, used or free.
    """

    total: int | None
    available: int | None
    limit: int | None
    swap: int | None = None


def memory(root: Path) -> Memory:
    """The memory of the machine whose /proc and /sys are under `root`."""
    info = parse_meminfo(read_text(root / "proc/meminfo") or "")
    limit = cgroup.memory(root)
    total, available, swap = info.get("MemTotal"), info.get("MemAvailable"), info.get("SwapTotal")
    if limit is not None and total is not None and limit >= total:
        limit = None  # more than there is: no limit
    if limit is not None and available is not None:
        available = min(available, max(0, limit - (cgroup.memory_used(root) or 0)))
    most = cgroup.swap(root)
    if swap is not None and most is not None:
        swap = min(swap, most)
    return Memory(total, available, limit, swap)


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        amount = number(words[0], 1024 if words[1:] == ["kB"] else 1) if words else None
        if amount is not None:
            found[name] = amount
    return found
