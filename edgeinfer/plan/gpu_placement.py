"""Which GPU computes, if any, and how much of its memory may be taken."""

from __future__ import annotations

import msgspec

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu

RESERVE = 512 * 1024**2
"""Bytes of a card that are left to the desktop and whatever else draws."""

NO_USE = {"broadcom": "VideoCore", "arm": "Mali"}
"""Their Vulkan drivers run llama.cpp several times slower than the CPU beside them, where it runs at all."""


class GpuPlacement(msgspec.Struct, frozen=True):
    """`gpu` None: the CPU computes. `reason`: why, where there is a GPU. `room`: bytes that may be taken of it."""

    gpu: Gpu | None = None
    reason: str | None = None
    room: int | None = None


def placement(profile: HardwareProfile) -> GpuPlacement:
    """The first GPU that is of use, else why there is none."""
    against: list[str] = []
    for gpu in profile.gpus:
        problem = why_not(gpu, profile)
        if problem is None:
            return GpuPlacement(gpu, None, room(gpu))
        against.append(problem)
    return GpuPlacement(None, f"gpu_layers 0: {'; '.join(against)}" if against else None)


def why_not(gpu: Gpu, profile: HardwareProfile) -> str | None:
    """What speaks against a GPU; None: nothing."""
    if gpu.vendor in NO_USE:
        return f"the {gpu.name} computes slower than the CPU beside it"
    if gpu.api is None:
        return f"llama.cpp has no way to the {gpu.name}" + (
            "" if gpu.driver or gpu.shared else ": its driver is missing"
        )
    if profile.llama and gpu.api not in profile.llama.apis:
        return (
            f"the installed llama.cpp was built without {gpu.api}, so the {gpu.name} is idle "
            f"(scripts/setup builds it in where the {gpu.api} toolkit is installed)"
        )
    if gpu.shared and gpu.vendor not in ("apple", "nvidia"):
        return f"the {gpu.name} reads the same memory as the CPU, and writes no faster (--gpu-layers -1 tries it)"
    if gpu.memory is None:
        return f"it is not known how much memory the {gpu.name} has (--gpu-layers -1 tries it)"
    return None


def room(gpu: Gpu) -> int | None:
    """None: not known."""
    if gpu.memory is None:
        return None
    if gpu.shared:
        return gpu.memory
    free = gpu.available if gpu.available is not None else gpu.memory
    return max(0, free - RESERVE)
