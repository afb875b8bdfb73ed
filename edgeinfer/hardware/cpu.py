"""Cores and their classes, as Linux describes them in /sys; on other systems only their number is known."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

CPU_DIR = "sys/devices/system/cpu"


class CpuClass(msgspec.Struct, frozen=True):
    """Cores of one kind. `cpus` holds one logical CPU for each physical core."""

    cpus: list[int]
    capacity: int | None
    """Relative to the fastest core of the machine, which has 1024. Only big.LITTLE systems have it."""
    max_mhz: int | None


def classes(root: Path, allowed: frozenset[int] | None) -> list[CpuClass]:
    """Physical cores by class, fastest first, of the `allowed` logical CPUs (None: all)."""
    online = parse_list(read_text(root / CPU_DIR / "online") or "")
    if not online and root == Path("/"):
        online = list(range(os.cpu_count() or 1))
    groups: dict[tuple[int | None, int | None], list[int]] = {}
    seen: set[tuple[int, ...]] = set()
    for cpu in online:
        if allowed is not None and cpu not in allowed:
            continue
        directory = root / CPU_DIR / f"cpu{cpu}"
        siblings = tuple(parse_list(read_text(directory / "topology/thread_siblings_list") or str(cpu)))
        if siblings in seen:
            continue  # a second thread of a core that is counted already
        seen.add(siblings)
        khz = read_int(directory / "cpufreq/cpuinfo_max_freq")
        key = (read_int(directory / "cpu_capacity"), khz // 1000 if khz else None)
        groups.setdefault(key, []).append(cpu)
    ordered = sorted(groups.items(), key=lambda g: (g[0][0] or 0, g[0][1] or 0), reverse=True)
    return [CpuClass(cpus, capacity, mhz) for (capacity, mhz), cpus in ordered]


def cgroup_cpus(root: Path) -> float | None:
    """CPUs' worth of time that cgroup v2 or v1 allows, None where neither limits it."""
    quota, _, period = (read_text(root / "sys/fs/cgroup/cpu.max") or "").partition(" ")
    if not period:
        quota = read_text(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us") or ""
        period = read_text(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us") or ""
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or not there
        return None
    return cpus if cpus > 0 else None


def parse_list(text: str) -> list[int]:
    """Linux's list format: "0-3,8" is [0, 1, 2, 3, 8]."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def read_text(path: Path) -> str | None:
    """A small file of /proc or /sys, None where it can't be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    text = read_text(path)
    return int(text) if text and text.lstrip("-").isdigit() else None
