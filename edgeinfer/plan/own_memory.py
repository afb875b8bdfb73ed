"""Memory that our own workers hold, and machines as they would be without it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.memory_estimate import MemoryEstimate

if TYPE_CHECKING:
    import psutil

WORKER = ("-m", "edgeinfer.backends.llama_cpp.worker.process")


class HeldMemory(msgspec.Struct, frozen=True):
    """Bytes that a worker holds for itself: they are not available until it has ended."""

    ram: int = 0
    gpu: int = 0

    def __add__(self, other: HeldMemory) -> HeldMemory:
        return HeldMemory(self.ram + other.ram, self.gpu + other.gpu)


class ModelMemory(msgspec.Struct, frozen=True):
    """Memory of one model that is loaded, or will be.

    Attributes:
        predicted: memory it was planned to take, including the daemon's only if that is not running yet.
        held: memory that its worker holds already.
    """

    predicted: MemoryEstimate
    held: HeldMemory = HeldMemory()

    @property
    def pending(self) -> HeldMemory:
        """Bytes that look available, but belong to the model: mapped weights, and what it has yet to take."""
        predicted = self.predicted
        ram = predicted.needed + predicted.ram_cache - self.held.ram
        gpu = predicted.gpu - self.held.gpu
        return HeldMemory(max(0, ram), max(0, gpu))


def model_memory(predicted: MemoryEstimate, pid: int | None) -> ModelMemory:
    """Measure the worker `pid` of a running daemon's model; None if it has no worker.

    A process's share of a GPU cannot be measured everywhere, so it is taken to be as predicted.
    """
    ram = held_by(pid) if pid else 0
    return ModelMemory(replace(predicted, daemon=0), HeldMemory(ram, predicted.gpu if ram else 0))


def held_by(pid: int) -> int:
    """Return the bytes of RAM that a process would free by ending; 0 if it has ended or cannot be inspected.

    vLLM has several processes below the one that is known. Pages mapped from a file do not count, as they are
    available already.
    """
    import psutil

    held = shared = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                usage = each.memory_info()
                held += max(0, usage.rss - getattr(usage, "shared", 0))
                shared = max(shared, _shared_memory(each.pid))  # its processes share it
    return held + shared


def _shared_memory(pid: int) -> int:
    """Bytes in files that are in memory alone, such as what a worker leaves to the next; 0 if the system does not tell."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssShmem:"):
                return int(line.split()[1]) * 1024
    return 0


def worker_pids(processes: Iterable[psutil.Process] | None = None) -> list[int]:
    """Return the process ids of the workers among `processes`; None means all that run."""
    import psutil  # doctor reports where it is missing, and imports the plan

    pids = []
    for process in psutil.process_iter() if processes is None else processes:
        with suppress(psutil.Error):
            if WORKER in pairwise(process.cmdline()):
                pids.append(process.pid)
    return pids


def without_workers(profile: HardwareProfile) -> HardwareProfile:
    """Return this machine as it would be with no worker running.

    It is for plans made while the service runs, which take effect when it is restarted.
    """
    return with_memory(profile, HeldMemory(sum(map(held_by, worker_pids()))))


def with_memory(profile: HardwareProfile, freed: HeldMemory) -> HardwareProfile:
    """Return the machine with `freed` available as well, up to what it has."""
    memory = profile.memory
    if memory.available is not None:
        size, available = memory.limit or memory.total, memory.available + freed.ram
        memory = replace(memory, available=min(available, size) if size else available)
    return replace(profile, memory=memory, gpus=tuple(_freed(gpu, freed.gpu) for gpu in profile.gpus))


def without_memory(profile: HardwareProfile, taken: HeldMemory) -> HardwareProfile:
    """Return the machine with `taken` no longer available."""
    memory = profile.memory
    if memory.available is not None:
        memory = replace(memory, available=max(0, memory.available - taken.ram))
    return replace(profile, memory=memory, gpus=tuple(_taken(gpu, taken.gpu) for gpu in profile.gpus))


def _freed(gpu: Gpu, size: int) -> Gpu:
    if gpu.available is None or gpu.shared:
        return gpu
    available = gpu.available + size
    return replace(gpu, available=min(available, gpu.memory) if gpu.memory else available)


def _taken(gpu: Gpu, size: int) -> Gpu:
    """Take memory from a GPU. If it shares the RAM, it may then use less of it."""
    if gpu.memory is None:
        return gpu
    if gpu.shared:
        return replace(gpu, memory=max(0, gpu.memory - size))
    available = gpu.memory if gpu.available is None else gpu.available
    return replace(gpu, available=max(0, available - size))
