"""Memory that a model may take on a machine."""

from __future__ import annotations

import msgspec

from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.gpu_placement import GpuPlacement
from edgeinfer.plan.memory_estimate import MemoryEstimate

HEADROOM_SHARE = 0.1
MIN_HEADROOM, MAX_HEADROOM = 64 * 1024**2, 1024**3
"""Bounds in bytes of the headroom, a share of what the machine (or the cgroup) has."""


class MemoryBudget(msgspec.Struct, frozen=True):
    """Bytes that a model may take; None where the machine's memory is unknown, and anything goes.

    Attributes:
        ram: `available` less `headroom`.
        gpu: memory of the GPU that computes.
        available: RAM that is free now.
        headroom: RAM that is left to the system.
        limit: what loaded models leave of `memory_limit_mb`; None if there is no limit.
    """

    ram: int | None
    gpu: int | None = None
    available: int | None = None
    headroom: int = 0
    limit: int | None = None

    @property
    def usable(self) -> int | None:
        """The smaller of `available` and `limit`."""
        return min((size for size in (self.available, self.limit) if size is not None), default=None)

    def excess(self, memory: MemoryEstimate) -> tuple[int, int]:
        """Return the bytes that exceed the GPU's memory, and those that exceed the RAM or the limit.

        The GPU comes first: a model that does not fit there fails to load, RAM may still be swapped.
        """
        ram = 0 if self.ram is None else max(0, memory.needed - self.ram)
        limit = 0 if self.limit is None else max(0, memory.model - self.limit)
        return (0 if self.gpu is None else max(0, memory.gpu - self.gpu)), max(ram, limit)


def memory_budget(
    profile: HardwareProfile, placement: GpuPlacement, limit: int | None = None
) -> MemoryBudget:
    memory = profile.memory
    size = memory.limit or memory.total
    headroom = round(min(max(HEADROOM_SHARE * (size or 0), MIN_HEADROOM), MAX_HEADROOM))
    ram = None if memory.available is None else max(0, memory.available - headroom)
    return MemoryBudget(ram, placement.budget, memory.available, headroom, limit)
