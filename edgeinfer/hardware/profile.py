"""Collects the facts of a machine that plans are made from."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware import apple, cgroup, cpu, cuda, system
from edgeinfer.hardware.board import Board, board
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.graphics import gpus, with_reachable_api
from edgeinfer.hardware.llama_build import LlamaBuild, llama_build
from edgeinfer.hardware.memory import Memory, memory
from edgeinfer.hardware.npu import npu
from edgeinfer.hardware.storage import Storage, storage
from edgeinfer.hardware.system import System

STORE = "/var/lib/edgeinfer"
"""Directory of the system service's models."""


class HardwareProfile(msgspec.Struct, frozen=True):
    """Facts of a machine.

    Attributes:
        cpus: classes of CPUs that this process may use, the fastest first; one entry per physical core.
        cpu_quota: CPU time that the cgroup allows, in CPUs; None if it is not limited.
        sockets: cores of each processor where there are several, each with memory of its own.
        cpu_name: name of the processor; None on most ARM boards, where the classes have names.
        gpus: all GPUs, those that llama.cpp can use first.
        npu: name of a neural processor, which llama.cpp cannot use.
        storage: the disk of the models.
        cuda: version of the CUDA toolkit, where there is a card for it; None if there is none.
        llama: None if unknown, as in a recorded tree; it is then assumed to suit the machine.
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
    cuda: str | None = None
    sockets: tuple[tuple[int, ...], ...] = ()
    llama: LlamaBuild | None = None


def detect(root: str | Path = "/", models: str | Path = STORE) -> HardwareProfile:
    """Detect the machine with this root directory, or a recorded one.

    Outputs of commands of a recorded machine are in ROOT/commands/NAME.txt. The affinity mask and the installed
    llama.cpp are read only on the machine itself.

    Args:
        models: directory of the models.
    """
    root = Path(root)
    facts = apple.sysctl(root)
    return _mac(root, facts, str(models)) if facts else _linux(root, str(models))


def _linux(root: Path, models: str) -> HardwareProfile:
    ram, os, this_board = memory(root), system.linux(root), board(root)
    build = llama_build() if root == Path("/") else None
    cards = gpus(root, this_board, ram, os.container)
    nvidia = next((gpu for gpu in cards if gpu.vendor == "nvidia"), None)
    return HardwareProfile(
        cpus=cpu.classes(root),
        cpu_quota=cgroup.quota(root),
        memory=ram,
        cpu_name=cpu.cpu_name(root),
        gpus=tuple(with_reachable_api(gpu, build) for gpu in cards),
        board=this_board,
        npu=npu(root, this_board),
        storage=storage(root, models),
        system=os,
        sockets=cpu.sockets(root),
        cuda=cuda.toolkit(root, nvidia.driver if nvidia.shared else None) if nvidia else None,
        llama=build,
    )


def _mac(root: Path, facts: dict[str, str], models: str) -> HardwareProfile:
    ram = apple.memory(root, facts)
    return HardwareProfile(
        cpus=apple.classes(facts),
        cpu_quota=None,
        memory=ram,
        cpu_name=apple.cpu_name(facts),
        gpus=apple.gpus(facts, ram),
        board=apple.board(facts),
        npu="Apple Neural Engine" if apple.is_apple_silicon(facts) else None,
        storage=storage(root, models),
        system=system.mac(root, facts),
        llama=llama_build() if root == Path("/") else None,
    )
