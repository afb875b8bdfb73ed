"""Names the class of a machine: machines of one class get the same plan."""

from __future__ import annotations

import re

from edgeinfer.hardware import HardwareProfile

GIB = 1 << 30

MAX_LABEL = 63
"""Characters of a label's value in Ray."""

NOISE = re.compile(
    r"\b(nvidia|geforce|amd|radeon|intel|corporation|model|rev(ision)?|tm|r)\b|\(.*?\)|[^a-z0-9]+"
)
"""Words that tell no card or board from another."""


def hardware_class(profile: HardwareProfile) -> str:
    """The class of a machine: its cards, its board or its processor, and its memory in GiB.

    "rtx-3060-12gb", "2x-rtx-3060-12gb", "raspberry-pi-5-8gb", "x86-64-8-cores-16gb"
    """
    gpus = [gpu for gpu in profile.gpus if gpu.api and not gpu.shared]
    if gpus:
        count = f"{len(gpus)}x-" if len(gpus) > 1 else ""
        return _label(f"{count}{_slug(gpus[0].name or 'gpu')}", gpus[0].memory)
    if profile.board:
        return _label(_slug(profile.board.family or profile.board.model), profile.memory.total)
    cores = sum(len(cpus.cpus) for cpus in profile.cpus)
    return _label(f"{_slug(profile.system.machine or 'machine')}-{cores}-cores", profile.memory.total)


def _label(name: str, memory: int | None) -> str:
    size = f"-{round(memory / GIB)}gb" if memory else ""
    return f"{name[: MAX_LABEL - len(size)].strip('-')}{size}"


def _slug(name: str) -> str:
    return "-".join(NOISE.sub(" ", name.lower()).split())
