"""RAM, and what a cgroup leaves of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware.cpu import cgroup_values, read_int, read_text


class Memory(msgspec.Struct, frozen=True):
    """Bytes. `available` is what can be had without swapping, within `limit` where a cgroup sets one."""

    total: int | None
    available: int | None
    limit: int | None
    swap: int | None = None


def memory(root: Path) -> Memory:
    """The memory of the machine whose /proc and /sys are under `root`."""
    info = parse_meminfo(read_text(root / "proc/meminfo") or "")
    limit = cgroup_limit(root)
    total, available = info.get("MemTotal"), info.get("MemAvailable")
    if not info and root == Path("/"):  # macOS
        import psutil

        vm = psutil.virtual_memory()
        total, available = vm.total, vm.available
    if limit is not None and total is not None and limit >= total:
        limit = None  # cgroup v1 writes a huge number for "none"
    if limit is not None and available is not None:
        available = min(available, max(0, limit - (cgroup_usage(root) or 0)))
    return Memory(total, available, limit)


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        amount = rest.split()
        if amount and amount[0].isdigit():
            found[name] = int(amount[0]) * (1024 if amount[1:] == ["kB"] else 1)
    return found


def cgroup_limit(root: Path) -> int | None:
    """What cgroup v2 or v1 allows, None where there is no limit."""
    limits = [int(text) for text in cgroup_values(root, "memory.max") if text.isdigit()]
    if (v1 := read_int(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")) is not None:
        limits.append(v1)
    return min(limits, default=None)


def cgroup_usage(root: Path) -> int | None:
    """What the group uses and can't give back: its page cache counts as free."""
    v2 = next((int(text) for text in cgroup_values(root, "memory.current") if text.isdigit()), None)
    if v2 is None:
        return read_int(root / "sys/fs/cgroup/memory/memory.usage_in_bytes")
    stat = next(iter(cgroup_values(root, "memory.stat")), "")
    cache = next((int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file ")), 0)
    return max(0, v2 - cache)
