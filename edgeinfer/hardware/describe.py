"""Describes a profile for people, one line per fact."""

from __future__ import annotations

from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.llama_build import LlamaBuild
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.profile import HardwareProfile
from edgeinfer.hardware.storage import Storage
from edgeinfer.hardware.system import System

UNKNOWN = "unknown"

KINDS = {"nvme": "NVMe", "ssd": "SSD", "hdd": "hard disk", "sd": "SD card", "emmc": "eMMC", "usb": "USB disk"}


def describe(profile: HardwareProfile) -> list[tuple[str, str]]:
    """Return labels and texts. Each label occurs once, "GPU" once for each GPU."""
    board = profile.board
    return [
        ("Board", board.model if board else UNKNOWN),
        ("CPU", _cpu(profile)),
        ("Memory", _memory(profile.memory)),
        *[("GPU", _gpu(gpu)) for gpu in profile.gpus],
        *([] if profile.gpus else [("GPU", "none found")]),
        ("NPU", f"{profile.npu}, not used" if profile.npu else "none found"),
        ("Storage", _storage(profile.storage)),
        ("System", _system(profile.system)),
        ("llama.cpp", _llama(profile.llama)),
    ]


def _cpu(profile: HardwareProfile) -> str:
    classes = " + ".join(_class(cores, profile.cpu_name) for cores in profile.cpus) or UNKNOWN
    isa = " ".join(profile.cpus[0].isa or ()) if profile.cpus else ""
    noun = "CPU" if profile.cpu_quota == 1 else "CPUs"
    quota = f"limited to {profile.cpu_quota:.3g} {noun}" if profile.cpu_quota else None
    return _joined(profile.cpu_name, classes, isa, quota)


def _class(cores: CpuClass, cpu_name: str | None) -> str:
    count = len(cores.cpus)
    name = (cores.name or "").removeprefix(cpu_name or "").strip()
    kind = f"× {name}" if name else ("core" if count == 1 else "cores")
    return f"{count} {kind}" + (f" {cores.max_mhz / 1000:.1f} GHz" if cores.max_mhz else "")


def _memory(memory: Memory) -> str:
    return _joined(
        _gib(memory.total),
        f"limited to {_gib(memory.limit)}" if memory.limit is not None else None,
        f"{_gib(memory.available)} available" if memory.available is not None else None,
        f"{_gib(memory.swap)} swap" if memory.swap else None,
    )


def _gpu(gpu: Gpu) -> str:
    use: str = gpu.api or "not used"
    if gpu.lacks_driver:
        use = f"not usable with the driver {gpu.driver}" if gpu.driver else "its driver is missing"
    compute = f"compute {gpu.compute_capability}" if gpu.compute_capability else None
    memory = _gib(gpu.memory) if gpu.memory else None
    return _joined(gpu.name, use, compute, f"up to {memory} of the RAM" if memory and gpu.shared else memory)


def _storage(storage: Storage | None) -> str:
    if storage is None:
        return UNKNOWN
    free = f"{storage.free / 1e9:.1f} GB free" if storage.free is not None else None
    return _joined(KINDS.get(storage.kind, storage.kind) if storage.kind else None, free)


def _system(system: System) -> str:
    inside = f"in a container ({system.container})" if system.container else None
    pages = f"{system.page_size // 1024} KiB pages" if system.page_size else None
    bits = "32-bit programs" if system.is_32_bit else None
    libc = "musl" if system.is_musl else None
    return _joined(
        system.name or system.os, system.machine, bits, libc, system.service_manager, inside, pages
    )


def _llama(build: LlamaBuild | None) -> str:
    if build is None:
        return UNKNOWN
    variant = f"variant {build.variant}" if build.variant else None
    return _joined(build.version, variant, " ".join((*build.apis, *build.isa)))


def _gib(size: int | None) -> str:
    return UNKNOWN if size is None else f"{size / 1024**3:.1f} GiB"


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part) or UNKNOWN
