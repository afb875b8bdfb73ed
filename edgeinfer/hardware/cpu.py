"""Cores and their classes, as Linux describes them in /sys; on other systems only their number is known."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

CPU_DIR = "sys/devices/system/cpu"

ALIKE = 0.85
"""A core this fast, relative to the fastest of a class, is of the class."""

MOST_CPUS = 8192
"""Linux's own limit."""


class CpuClass(msgspec.Struct, frozen=True):
    """Cores of one kind. `cpus` holds one logical CPU for each physical core."""

    cpus: list[int]
    capacity: int | None
    """Relative to the fastest core of the machine, which has 1024. Only big.LITTLE systems have it."""
    max_mhz: int | None
    name: str | None = None
    """"Cortex-A76", "Apple M2 performance"; None where unknown or where all cores are the machine's one kind."""
    isa: tuple[str, ...] | None = None
    """What matters to llama.cpp: neon dotprod fp16 i8mm sve, avx avx2 fma f16c avx512 vnni bf16 amx."""


def classes(root: Path, allowed: frozenset[int] | None) -> list[CpuClass]:
    """Physical cores by class, fastest first, of the `allowed` logical CPUs (None: all)."""
    cores = [_core(root, cpu) for cpu in _physical(root, allowed)]
    cores.sort(key=lambda c: (-(c.capacity or 0), -(c.max_mhz or 0), c.cpus))
    found: list[CpuClass] = []
    for core in cores:
        if found and _alike(found[-1], core):
            found[-1].cpus.extend(core.cpus)
        else:
            found.append(core)
    return found


def _physical(root: Path, allowed: frozenset[int] | None) -> list[int]:
    """One logical CPU for each physical core."""
    online = parse_list(read_text(root / CPU_DIR / "online") or "")
    if not online and root == Path("/"):
        online = list(range(os.cpu_count() or 1))
    found: dict[tuple[int, ...], int] = {}
    for cpu in online:
        if allowed is None or cpu in allowed:
            siblings = read_text(root / CPU_DIR / f"cpu{cpu}" / "topology/thread_siblings_list")
            found.setdefault(tuple(parse_list(siblings or "")) or (cpu,), cpu)
    return list(found.values())


def _core(root: Path, cpu: int) -> CpuClass:
    directory = root / CPU_DIR / f"cpu{cpu}"
    khz = read_int(directory / "cpufreq/cpuinfo_max_freq")
    return CpuClass([cpu], read_int(directory / "cpu_capacity"), khz // 1000 if khz else None)


def _alike(fast: CpuClass, core: CpuClass) -> bool:
    """Of one class: favoured cores and binned clusters differ a little, kinds of cores by a quarter and more."""
    if fast.capacity and core.capacity:
        return core.capacity >= ALIKE * fast.capacity
    return not (fast.max_mhz and core.max_mhz) or core.max_mhz >= ALIKE * fast.max_mhz


def cgroup_cpus(root: Path) -> float | None:
    """CPUs' worth of time that cgroup v2 or v1 allows, None where neither limits it."""
    limits = [_cpus(*text.partition(" ")[::2]) for text in cgroup_values(root, "cpu.max")]
    quota = read_text(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = read_text(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    limits.append(_cpus(quota or "", period or ""))
    return min((limit for limit in limits if limit), default=None)


def _cpus(quota: str, period: str) -> float | None:
    """None for "max", -1, and what is no number."""
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return None
    return int(quota) / int(period)


def cgroup_values(root: Path, name: str) -> list[str]:
    """A cgroup v2 file's texts, from this process's own group up to the root's."""
    own = read_text(root / "proc/self/cgroup") or ""
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    group = Path(path.lstrip("/"))
    levels = [group, *group.parents] if ".." not in group.parts else [Path()]
    texts = (read_text(root / "sys/fs/cgroup" / level / name) for level in levels)
    return [text for text in texts if text]


def parse_list(text: str) -> list[int]:
    """Linux's list format: "0-3,8" is [0, 1, 2, 3, 8]. What is no number is left out."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.extend(range(int(first), min(int(last or first), MOST_CPUS) + 1))
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
