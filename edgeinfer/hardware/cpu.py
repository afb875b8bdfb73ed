"""Cores and their classes, as Linux describes them in /sys and /proc."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edgeinfer.hardware import cgroup
from edgeinfer.hardware.isa import SLOW, core_name, cpuinfo, instruction_sets, model_name
from edgeinfer.hardware.root_files import pairs, parse_list, read_int, read_text

CPU_DIR = "sys/devices/system/cpu"

ALIKE = 0.85
"""A core this fast, relative to the next faster one of a class, is of the class."""

INTEL_KINDS = {"cpu_core": "P-core", "cpu_atom": "E-core", "cpu_lowpower": "LP E-core"}
"""Directories in sys/devices of a hybrid processor -> our name for the cores listed there."""

SLOWER = SLOW | {"E-core", "LP E-core"}


class CpuClass(msgspec.Struct, frozen=True):
    """Cores of one kind. `cpus` holds one logical CPU for each physical core."""

    cpus: list[int]
    capacity: int | None
    """Relative to the fastest core of the machine, which has 1024. Machines with one kind of cores lack it."""
    max_mhz: int | None
    name: str | None = None
    """"Cortex-A76", "P-core", "Apple M2 performance"; None where unknown, and for an x86 with one kind."""
    isa: tuple[str, ...] | None = None
    """What matters to llama.cpp: neon dotprod fp16 i8mm sve bf16, or avx avx2 fma f16c avx512 vnni avx-vnni
    bf16 amx. None where unknown."""


def classes(root: Path) -> list[CpuClass]:
    """Physical cores by class, fastest first, of the logical CPUs that this process may use."""
    info, kinds = cpuinfo(root), _intel_kinds(root)
    cores = [_core(root, cpu, info.get(cpu, {}), kinds) for cpu in _physical(root)]
    cores.sort(key=lambda core: (core.name or "", _rank(core)))
    found: list[list[CpuClass]] = []
    for core in cores:
        if found and _alike(found[-1][-1], core):
            found[-1].append(core)
        else:
            found.append([core])
    return sorted((_merged(alike) for alike in found), key=_rank)


def _merged(cores: list[CpuClass]) -> CpuClass:
    """The class of some cores, of which the first is the fastest."""
    return msgspec.structs.replace(cores[0], cpus=[cpu for core in cores for cpu in core.cpus])


def cpu_name(root: Path) -> str | None:
    """What an x86 calls itself."""
    return next((name for fields in cpuinfo(root).values() if (name := model_name(fields))), None)


def _rank(core: CpuClass) -> tuple[int, bool, int, list[int]]:
    return (-(core.capacity or 0), core.name in SLOWER, -(core.max_mhz or 0), core.cpus)


def _physical(root: Path) -> list[int]:
    """One logical CPU for each physical core."""
    online = parse_list(read_text(root / CPU_DIR / "online"))
    if not online and root == Path("/"):
        online = list(range(os.cpu_count() or 1))
    if allowed := _allowed(root):
        # A container may be shown other numbers than it has (lxcfs); what it has is what counts.
        online = [cpu for cpu in online if cpu in allowed] or (sorted(allowed) if online else [])
    found: dict[tuple[int, ...], int] = {}
    for cpu in online:
        siblings = read_text(root / CPU_DIR / f"cpu{cpu}" / "topology/thread_siblings_list")
        found.setdefault(tuple(parse_list(siblings)) or (cpu,), cpu)
    return list(found.values())


def _allowed(root: Path) -> frozenset[int] | None:
    """The CPUs of affinity mask and cpuset, None where neither is known."""
    mask, cpuset = _affinity(root), cgroup.cpus(root)
    return (mask & cpuset or mask) if mask and cpuset else mask or cpuset


def _affinity(root: Path) -> frozenset[int] | None:
    if root == Path("/") and hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    status = pairs(read_text(root / "proc/self/status") or "", ":")
    return frozenset(parse_list(status.get("Cpus_allowed_list"))) or None


def _intel_kinds(root: Path) -> dict[int, str]:
    """The kind of each logical CPU of a hybrid Intel processor."""
    return {
        cpu: kind
        for directory, kind in INTEL_KINDS.items()
        for cpu in parse_list(read_text(root / "sys/devices" / directory / "cpus"))
    }


def _core(root: Path, cpu: int, fields: dict[str, str], kinds: dict[int, str]) -> CpuClass:
    directory = root / CPU_DIR / f"cpu{cpu}"
    khz = read_int(directory / "cpufreq/cpuinfo_max_freq")
    return CpuClass(
        [cpu],
        read_int(directory / "cpu_capacity"),
        khz // 1000 if khz else None,
        core_name(fields) or kinds.get(cpu),
        instruction_sets(fields),
    )


def _alike(fast: CpuClass, core: CpuClass) -> bool:
    """Of one class: binned clusters differ a little, and so do the favoured cores of an x86, one from the next;
    kinds of cores differ by a quarter and more.
    """
    if fast.name != core.name:
        return False
    if fast.capacity and core.capacity:
        return core.capacity >= ALIKE * fast.capacity
    return not (fast.max_mhz and core.max_mhz) or core.max_mhz >= ALIKE * fast.max_mhz
