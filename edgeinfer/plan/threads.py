"""Chooses how many threads compute, and on which cores.

llama.cpp gives every thread the same share of each operation and waits for the last one, so one slow core delays
all others. Threads therefore run on the fastest class of cores only, one for each physical core.
"""

from __future__ import annotations

import msgspec

from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration

MAX_TINY_MODEL = 32_000_000
"""Bytes below which one thread is fastest: a layer takes microseconds."""

MAX_BESIDE_GPU = 4
"""Threads where the GPU has all layers: the CPU looks up embeddings, and computes the few operations it lacks."""


class Threads(msgspec.Struct, frozen=True):
    """Number of threads and the CPUs they run on, with the plan's reasons for both.

    Attributes:
        cpus: empty if there is nothing to choose.
    """

    count: int
    reason: str
    cpus: tuple[int, ...] = ()
    cpus_reason: str | None = None


def choose_threads(
    profile: HardwareProfile,
    header: Header | None,
    calibration: Calibration | None = None,
    wanted: int | None = None,
    *,
    on_gpu: bool = False,
) -> Threads:
    """Choose the number of threads, or only the CPUs for the `wanted` number; `on_gpu`: the GPU has all layers."""
    count, reason = _count(profile, header, calibration)
    if on_gpu and count > MAX_BESIDE_GPU:
        count = MAX_BESIDE_GPU
        reason = f"threads {count}: the GPU computes, and leaves little to the CPU"
    count = wanted or count
    cpus = _cpus(profile, count)
    if not cpus:
        return Threads(count, reason)
    if profile.sockets:
        why = f"cpus {cpu_list(cpus)}: the memory of another processor is farther away"
        return Threads(count, reason, cpus, why)
    others = sum(len(cores.cpus) for cores in profile.cpus[1:])
    slower = f"{others} slower ones" if others > 1 else "slower one"
    fastest = "any of the fastest cores" if count < len(cpus) else "the fastest cores"
    why = f"cpus {cpu_list(cpus)}: {fastest}; waiting for the {slower} would cost more"
    return Threads(count, reason, cpus, why)


def _count(
    profile: HardwareProfile, header: Header | None, calibration: Calibration | None
) -> tuple[int, str]:
    if header and header.size < MAX_TINY_MODEL:
        return 1, "threads 1: a model this small runs faster than threads can synchronize"
    if not profile.cpus:
        return 1, "threads 1: the number of cores is unknown"
    if calibration and (best := calibration.best_threads):
        tried = ", ".join(f"{n}: {rate:.1f}" for n, rate in sorted(calibration.threads.items()))
        return best, f"threads {best}: the fastest, as measured on this machine ({tried} tok/s)"
    cores = len(_fastest(profile))
    kind = "fastest " if len(profile.cpus) > 1 else ""
    reason = f"threads {cores}: one for each of the usable {kind}cores"
    if profile.sockets:
        reason = f"threads {cores}: one for each core of one processor, which is faster than several"
    if profile.cpu_quota and profile.cpu_quota < cores:
        cores = max(1, int(profile.cpu_quota))
        noun = "CPU" if profile.cpu_quota == 1 else "CPUs"
        reason = f"threads {cores}: the control group allows {profile.cpu_quota:g} {noun}"
    return cores, reason


def _cpus(profile: HardwareProfile, count: int) -> tuple[int, ...]:
    """Return the fastest class of CPUs if there are slower ones, and it has a core for each thread.

    macOS places threads itself.
    """
    cpus = _fastest(profile)
    alike = len(profile.cpus) < 2 and not profile.sockets
    return () if alike or count > len(cpus) or profile.system.os == "darwin" else cpus


def _fastest(profile: HardwareProfile) -> tuple[int, ...]:
    """Return the fastest class of CPUs; where there are several processors, those of the one with most of them."""
    cpus = tuple(sorted(profile.cpus[0].cpus)) if profile.cpus else ()
    own = [tuple(cpu for cpu in cpus if cpu in socket) for socket in profile.sockets]
    return max(own, key=len, default=cpus)


def cpu_list(cpus: tuple[int, ...]) -> str:
    """Format CPU numbers as taskset does: "4-7", "0,2,4-6"."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
