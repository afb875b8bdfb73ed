"""How many threads compute, and on which cores.

llama.cpp gives every thread the same share of each operation and waits for the last one, so a slow core holds the
fast ones up: threads are for the fastest class of cores alone, one for each physical core.
"""

from __future__ import annotations

import msgspec

from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration

TINY = 32_000_000
"""Bytes of a model below which one thread is the fastest: a layer takes microseconds."""


class Threads(msgspec.Struct, frozen=True):
    """`cpus`: those to keep to; empty where there is nothing to choose. The reasons are sentences of the plan."""

    count: int
    reason: str
    cpus: tuple[int, ...] = ()
    cpus_reason: str | None = None


def threads(
    profile: HardwareProfile,
    header: Header | None,
    calibration: Calibration | None = None,
    wanted: int | None = None,
) -> Threads:
    """The best number; or the cores for the number that is `wanted`."""
    count, reason = _count(profile, header, calibration)
    count = wanted or count
    cpus = _cpus(profile, count)
    if not cpus:
        return Threads(count, reason)
    others = sum(len(cores.cpus) for cores in profile.cpus[1:])
    why = f"cpus {spelled(cpus)}: the fastest cores; waiting for one of the {others} slower ones costs more"
    return Threads(count, reason, cpus, why)


def _count(
    profile: HardwareProfile, header: Header | None, calibration: Calibration | None
) -> tuple[int, str]:
    if header and header.size < TINY:
        return 1, "threads 1: a model this small computes faster than threads can meet"
    if not profile.cpus:
        return 1, "threads 1: the number of cores is unknown"
    if calibration and (best := calibration.best_threads):
        tried = ", ".join(f"{n}: {rate:.1f}" for n, rate in sorted(calibration.threads.items()))
        return best, f"threads {best}: the fastest here, measured ({tried} tok/s)"
    cores = len(profile.cpus[0].cpus)
    kind = "fastest " if len(profile.cpus) > 1 else ""
    why = f"threads {cores}: one for each of the {kind}cores that may be used"
    if profile.cpu_quota and profile.cpu_quota < cores:
        cores = max(1, int(profile.cpu_quota))
        why = f"threads {cores}: the control group allows {profile.cpu_quota:g} CPUs"
    return cores, why


def _cpus(profile: HardwareProfile, count: int) -> tuple[int, ...]:
    """The fastest class, where there are slower ones, and it has a core for each thread. macOS can't be told."""
    if len(profile.cpus) < 2 or count > len(profile.cpus[0].cpus) or profile.system.os == "darwin":
        return ()
    return tuple(sorted(profile.cpus[0].cpus))


def spelled(cpus: tuple[int, ...]) -> str:
    """As taskset has it: "4-7", "0,2,4-6"."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
