"""Chooses the GPU that computes, if any, and how much of its memory a model may take."""

from __future__ import annotations

import msgspec

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Api, Gpu
from edgeinfer.plan.bandwidth import cpu_bandwidth, gpu_bandwidth
from edgeinfer.plan.cuda_support import cuda_problem

RESERVE = 512 * 1024**2
"""Bytes of a graphics card that are left to the desktop and other programs."""

SLOW_GPUS = {"broadcom": "VideoCore", "arm": "Mali"}
"""Vendors whose Vulkan drivers run llama.cpp several times slower than the CPU, where they run it at all."""

BUILDS: dict[Api, str] = {
    "cuda": "scripts/setup builds it in where NVIDIA's CUDA toolkit is installed",
    "vulkan": "scripts/setup builds it in where glslc and Vulkan's headers are installed",
    "rocm": "CMAKE_ARGS=-DGGML_HIP=ON scripts/setup builds it in; Vulkan does as well",
    "metal": "scripts/setup builds it in where Xcode's command line tools are installed",
}
"""How llama.cpp gets each API."""

MIN_SHARED_GAIN = 1.3
"""How much faster a GPU must read the RAM than the CPU does, since it may have to borrow it and its drivers vary."""


class GpuPlacement(msgspec.Struct, frozen=True):
    """The GPU that computes; None for the CPU.

    Attributes:
        reason: why no GPU is used, if there is one.
        budget: bytes of its memory that may be taken; None if unknown.
        cards: all cards that could share the work, the fastest first, as it is preferred; empty unless there are
            several.
        spread: they do, and `gpu` is the slowest of them.
    """

    gpu: Gpu | None = None
    reason: str | None = None
    budget: int | None = None
    cards: tuple[Gpu, ...] = ()
    spread: bool = False

    @property
    def main_gpu(self) -> int | None:
        """The number of the only card to use; None leaves it to llama.cpp, which spreads over all it finds."""
        return None if self.gpu is None or self.spread else self.gpu.index

    @property
    def label(self) -> str:
        """What it is called in a reason."""
        return f"{len(self.cards)} cards" if self.spread else self.gpu.name if self.gpu else "CPU"

    def others(self) -> list[GpuPlacement]:
        """Return the other placements to try: each further card, then all of them."""
        if not self.cards:
            return []
        alone = [GpuPlacement(card, None, gpu_budget(card), self.cards) for card in self.cards[1:]]
        # Each card has buffers of its own, and the slowest decides.
        budgets = [gpu_budget(card) or 0 for card in self.cards]
        budget = max(0, sum(budgets) - RESERVE * (len(budgets) - 1))
        return [*alone, GpuPlacement(self.cards[-1], None, budget, self.cards, spread=True)]


def choose_gpu(profile: HardwareProfile) -> GpuPlacement:
    """Return the first GPU that is worth using, or the reasons why none is."""
    problems: list[str] = []
    for gpu in profile.gpus:
        problem = gpu_problem(gpu, profile)
        if problem is None:
            cards = _cards(gpu, profile)
            first = cards[0] if cards else gpu
            return GpuPlacement(first, None, gpu_budget(first), cards)
        problems.append(problem)
    return GpuPlacement(None, f"gpu_layers 0: {'; '.join(problems)}" if problems else None)


def _cards(first: Gpu, profile: HardwareProfile) -> tuple[Gpu, ...]:
    """Return the cards that llama.cpp can spread a model over, the fastest first.

    It takes all of an API, so none if one of them is of no use.
    """
    cards = [gpu for gpu in profile.gpus if gpu.api == first.api and gpu.index is not None]
    if len(cards) < 2 or first.index is None or any(gpu_problem(card, profile) for card in cards):
        return ()
    return tuple(sorted(cards, key=lambda card: -_rate(card, profile)))


def _rate(gpu: Gpu, profile: HardwareProfile) -> float:
    bandwidth = gpu_bandwidth(gpu, profile)
    return bandwidth.rate if bandwidth else 0.0


def gpu_problem(gpu: Gpu, profile: HardwareProfile) -> str | None:
    """Return why a GPU is not used; None if it can be."""
    if gpu.vendor in SLOW_GPUS:
        return f"the {gpu.name} is slower than the CPU next to it"
    if gpu.api is None:
        driver = "" if gpu.driver or gpu.shared else ": its driver is missing"
        return f"llama.cpp cannot use the {gpu.name}{driver}"
    if problem := cuda_problem(gpu, profile):
        return problem
    if profile.llama and gpu.api not in profile.llama.apis:
        return f"the installed llama.cpp was built without {gpu.api}, so the {gpu.name} is idle ({BUILDS[gpu.api]})"
    if gpu.memory is None:
        return f"the memory size of the {gpu.name} is unknown (--gpu-layers -1 tries it)"
    return _slow(gpu, profile)


def _slow(gpu: Gpu, profile: HardwareProfile) -> str | None:
    """Say that a GPU gains nothing, if it is not clearly faster than the CPU."""
    bandwidth, cpu = gpu_bandwidth(gpu, profile), cpu_bandwidth(profile)
    if gpu.shared:
        if bandwidth is None or bandwidth.rate < MIN_SHARED_GAIN * cpu.rate:
            return (
                f"the {gpu.name} reads the same memory as the CPU and is no faster (--gpu-layers -1 tries it)"
            )
    elif bandwidth and bandwidth.rate < cpu.rate:
        return f"the {gpu.name} reads its memory more slowly than the CPU does (--gpu-layers -1 tries it)"
    return None


def gpu_budget(gpu: Gpu) -> int | None:
    """Return the bytes that may be taken of a GPU's memory; None if unknown."""
    if gpu.memory is None:
        return None
    if gpu.shared:
        return gpu.memory
    available = gpu.available if gpu.available is not None else gpu.memory
    return max(0, available - RESERVE)
