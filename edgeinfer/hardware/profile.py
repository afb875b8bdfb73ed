"""The facts that the plan decides by."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware import apple, cgroup, cpu, system
from edgeinfer.hardware.board import Board, board
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.graphics import gpus, reached
from edgeinfer.hardware.llama_build import LlamaBuild, llama_build
from edgeinfer.hardware.memory import Memory, memory
from edgeinfer.hardware.npu import npu
from edgeinfer.hardware.storage import Storage, storage
from edgeinfer.hardware.system import System

STORE = "/var/lib/edgeinfer"
"""Where the system service keeps its models."""


class HardwareProfile(msgspec.Struct, frozen=True):
    """Attributes:
    cpus: classes of CPUs that this process may use, the fastest first; one entry per physical core.
    cpu_quota: CPUs' worth of time that the cgroup allows, None where it is not limited.
    memory: in bytes.
    cpu_name: what the processor calls itself; None on most ARM boards, where the classes have names.
    gpus: those that llama.cpp can use first.
    npu: the name of a neural processor, which llama.cpp has no use for.
    storage: of the place where models are kept.
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


def detect(root: str | Path = "/", models: str | Path = STORE) -> HardwareProfile:
    """The machine that `root` is the root directory of, or a record of one; `models` is where models are kept there.

    Of a record nothing counts but what it holds: outputs of commands lie in ROOT/commands/NAME.txt. Affinity mask
    and installed llama.cpp are facts of the machine that this runs on alone.
    """
    root = Path(root)
    facts = apple.sysctl(root)
    return _mac(root, facts, str(models)) if facts else _linux(root, str(models))


def _linux(root: Path, models: str) -> HardwareProfile:
    ram, about, found = memory(root), system.linux(root), board(root)
    build = llama_build() if root == Path("/") else None
    return HardwareProfile(
        cpus=cpu.classes(root),
        cpu_quota=cgroup.quota(root),
        memory=ram,
        cpu_name=cpu.cpu_name(root),
        gpus=tuple(reached(gpu, build) for gpu in gpus(root, found, ram, about.container)),
        board=found,
        npu=npu(root, found),
        storage=storage(root, models),
        system=about,
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
