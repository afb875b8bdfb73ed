"""The facts that the plan decides by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from edgeinfer.hardware.cpu import CpuClass, cgroup_cpus, classes
from edgeinfer.hardware.memory import Memory, memory

Api = Literal["cuda", "metal", "vulkan", "rocm"]
"""How llama.cpp would reach a GPU."""


class Gpu(msgspec.Struct, frozen=True):
    """Attributes:
    vendor: "nvidia", "apple", "amd", "intel", "arm" (Mali), "broadcom" (VideoCore), ...
    name: as its driver calls it.
    api: None where llama.cpp has no use for it.
    memory: bytes it has, or may use of the RAM.
    available: bytes of those that are free now.
    shared: its memory is the machine's RAM.
    compute_capability: of an NVIDIA card, such as "8.6".
    driver: its version.
    """

    vendor: str
    name: str
    api: Api | None = None
    memory: int | None = None
    available: int | None = None
    shared: bool = False
    compute_capability: str | None = None
    driver: str | None = None


class Board(msgspec.Struct, frozen=True):
    """What the device tree, the firmware or Apple's hw.model says.

    `family` is our word for boards that are alike: "raspberry-pi-5", "rk3588", "jetson-orin-nano", ...
    """

    model: str
    compatible: tuple[str, ...] = ()
    family: str | None = None


class Storage(msgspec.Struct, frozen=True):
    """Where models are kept: "nvme", "ssd", "hdd", "sd", "emmc", "usb"; bytes."""

    kind: str | None
    free: int | None


class System(msgspec.Struct, frozen=True):
    """Attributes:
    os: "linux" or "darwin".
    name: "Debian GNU/Linux 12 (bookworm)".
    machine: "aarch64", "x86_64", "arm64".
    service_manager: "systemd", "launchd".
    container: "docker", "podman", "lxc", ...; None where it is none.
    page_size: bytes.
    """

    os: str | None = None
    name: str | None = None
    machine: str | None = None
    service_manager: str | None = None
    container: str | None = None
    page_size: int | None = None


class LlamaBuild(msgspec.Struct, frozen=True):
    """The installed llama.cpp: version of the package, instruction sets and GPU APIs it was built with."""

    version: str
    isa: tuple[str, ...] = ()
    apis: tuple[Api, ...] = ()


class HardwareProfile(msgspec.Struct, frozen=True):
    """Attributes:
    cpus: classes of CPUs that this process may use, the fastest first; one entry per physical core.
    cpu_quota: CPUs' worth of time that the cgroup allows, None where it is not limited.
    memory: in bytes.
    npu: the name of a neural processor, which llama.cpp has no use for.
    llama: None where it is not known, as in a recorded tree: then it is taken to suit the machine.
    """

    cpus: list[CpuClass]
    cpu_quota: float | None
    memory: Memory
    cpu_name: str | None = None
    gpus: tuple[Gpu, ...] = ()
    board: Board | None = None
    npu: str | None = None
    storage: Storage | None = None
    system: System = System()
    llama: LlamaBuild | None = None


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
