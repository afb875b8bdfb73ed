"""The facts that the plan decides by."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edgeinfer.hardware.cpu import CpuClass, cgroup_cpus, classes
from edgeinfer.hardware.memory import Memory, memory


class HardwareProfile(msgspec.Struct, frozen=True):
    """Attributes:
    cpus: classes of CPUs that this process may use, the fastest first; one entry per physical core.
    cpu_quota: CPUs' worth of time that the cgroup allows, None where it is not limited.
    memory: in bytes.
    """

    cpus: list[CpuClass]
    cpu_quota: float | None
    memory: Memory


def detect(root: str | Path = "/") -> HardwareProfile:
    """The machine whose /proc and /sys are under `root`.

    The affinity mask of this process counts for the machine it runs on alone.
    """
    root = Path(root)
    allowed = affinity() if root == Path("/") else None
    return HardwareProfile(cpus=classes(root, allowed), cpu_quota=cgroup_cpus(root), memory=memory(root))


def affinity() -> frozenset[int] | None:
    """The CPUs that this process may run on, None where the system does not say."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return None
