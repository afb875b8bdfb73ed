"""Detects cores and their classes from /sys and /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from edgeinfer.hardware import cgroup
from edgeinfer.hardware.isa import LITTLE_CORES, core_name, cpuinfo, instruction_sets, model_name
from edgeinfer.hardware.root_files import entries, pairs, parse_list, read_int, read_text

CPU_DIR = "sys/devices/system/cpu"
NODES = "sys/devices/system/node"

MIN_CLASS_RATIO = 0.85
"""Speed relative to the next faster core, from which on two cores are of one class."""

INTEL_KINDS = {"cpu_core": "P-core", "cpu_atom": "E-core", "cpu_lowpower": "LP E-core"}
"""Directory in /sys/devices of a hybrid processor -> our name for the cores listed there."""

SLOW_CORES = LITTLE_CORES | {"E-core", "LP E-core"}


class CpuClass(msgspec.Struct, frozen=True):
    """Cores of one kind. `cpus` holds one logical CPU for each physical core."""

    cpus: list[int]
    capacity: int | None
    """Capacity relative to the machine's fastest core, which has 1024; None on machines with one kind of cores."""
    max_mhz: int | None
    name: str | None = None
    """"Cortex-A76", "P-core", "Apple M2 performance"; None where unknown, and for an x86 with one kind."""
    isa: tuple[str, ...] | None = None
    """Instruction sets that matter to llama.cpp, None where unknown.

    ARM: neon dotprod fp16 i8mm sve bf16; x86: avx avx2 fma f16c avx512 vnni avx-vnni bf16 amx; RISC-V: rv64 rvv.
    """


def classes(root: Path) -> list[CpuClass]:
    """Return the physical cores by class, fastest first, of the logical CPUs that this process may use."""
    info, kinds = cpuinfo(root), _intel_kinds(root)
    cores = [_core(root, cpu, info.get(shown, {}), kinds) for cpu, shown in _physical(root).items()]
    cores.sort(key=lambda core: (core.name or "", _rank(core)))
    groups: list[list[CpuClass]] = []
    for core in cores:
        if groups and _is_alike(groups[-1][-1], core):
            groups[-1].append(core)
        else:
            groups.append([core])
    return sorted((_merged(group) for group in groups), key=_rank)


def _merged(cores: list[CpuClass]) -> CpuClass:
    """Return the class of cores that are alike, the first of which is the fastest."""
    return msgspec.structs.replace(cores[0], cpus=[cpu for core in cores for cpu in core.cpus])


def sockets(root: Path) -> tuple[tuple[int, ...], ...]:
    """Return the cores of each processor, one logical CPU for each; empty unless there are several with memory.

    Virtual machines often pretend that each CPU is a processor, but not that it has memory of its own.
    """
    nodes = [entry for entry in entries(root / NODES) if re.fullmatch(r"node\d+", entry.name, re.ASCII)]
    near = {cpu: i for i, node in enumerate(nodes) for cpu in parse_list(read_text(node / "cpulist"))}
    packages: dict[int, list[int]] = {}
    for cpu in _physical(root):
        package = read_int(root / CPU_DIR / f"cpu{cpu}" / "topology/physical_package_id")
        packages.setdefault(near.get(cpu, 0) if package is None else package, []).append(cpu)
    if len(nodes) < 2 or len(packages) < 2:
        return ()
    return tuple(tuple(sorted(cpus)) for _, cpus in sorted(packages.items()))


def cpu_name(root: Path) -> str | None:
    """Return the name of an x86 processor."""
    return next((name for fields in cpuinfo(root).values() if (name := model_name(fields))), None)


def _rank(core: CpuClass) -> tuple[int, bool, int, list[int]]:
    return (-(core.capacity or 0), core.name in SLOW_CORES, -(core.max_mhz or 0), core.cpus)


def _physical(root: Path) -> dict[int, int]:
    """Return one logical CPU for each physical core that may be used -> its number in /proc/cpuinfo."""
    numbers = _numbers(root)
    cores: dict[tuple[int, ...], int] = {}
    for cpu in numbers:
        siblings = read_text(root / CPU_DIR / f"cpu{cpu}" / "topology/thread_siblings_list")
        cores.setdefault(tuple(parse_list(siblings)) or (cpu,), cpu)
    shown = len(set(numbers.values()))  # lxcfs shows fewer if there is a quota
    return {cpu: numbers[cpu] for cpu in list(cores.values())[:shown]}


def _numbers(root: Path) -> dict[int, int]:
    """Return the CPUs that this process may use -> their numbers in /proc/cpuinfo.

    lxcfs counts a container's CPUs from 0, in /proc and mostly in the list of those online; masks and the rest of
    /sys do not.
    """
    online = parse_list(read_text(root / CPU_DIR / "online"))
    if not online and root == Path("/"):
        online = list(range(os.cpu_count() or 1))
    allowed, shown = _allowed(root, frozenset(online)), sorted(cpuinfo(root))
    if not online or not allowed:
        return {cpu: cpu for cpu in online}
    if not allowed.issubset(online):
        shown = online
    elif allowed.issubset(shown) or not shown:
        return {cpu: cpu for cpu in online if cpu in allowed}
    return {cpu: shown[min(i, len(shown) - 1)] for i, cpu in enumerate(sorted(allowed))}


def _allowed(root: Path, online: frozenset[int]) -> frozenset[int] | None:
    """Return the CPUs of the affinity mask and the cpuset; None if neither is known."""
    mask, cpuset = _affinity(root), cgroup.cpus(root)
    if mask and cpuset:
        return mask & cpuset or mask
    # The mask in /proc may hold all CPUs that could ever be plugged in.
    return cpuset or (mask and (mask & online if mask > online else mask))


def _affinity(root: Path) -> frozenset[int] | None:
    if root == Path("/") and hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    status = pairs(read_text(root / "proc/self/status") or "", ":")
    return frozenset(parse_list(status.get("Cpus_allowed_list"))) or None


def _intel_kinds(root: Path) -> dict[int, str]:
    """Return the kind of each logical CPU of a hybrid Intel processor."""
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


def _is_alike(fast: CpuClass, core: CpuClass) -> bool:
    """Tell whether two cores are of one class.

    Binned clusters and the favoured cores of an x86 differ a little; different kinds of cores by a quarter and more.
    """
    if fast.name != core.name:
        return False
    if fast.capacity and core.capacity:
        return core.capacity >= MIN_CLASS_RATIO * fast.capacity
    return not (fast.max_mhz and core.max_mhz) or core.max_mhz >= MIN_CLASS_RATIO * fast.max_mhz
