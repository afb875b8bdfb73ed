"""What `edgeinfer bench --calibrate` has measured on this machine: data, and where it is kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from edgeinfer.hardware import HardwareProfile

FILE = "calibration.json"
GIB = 1 << 30


class Rates(msgspec.Struct, frozen=True):
    """How fast one processor computes.

    Attributes:
        decode: type of the weights -> bytes of them read in a second while one answer is written, with the
            threads of the plan: {"Q4_K": 9.1e9, "F16": 11.8e9}. "" stands for the types that were not measured.
        overhead: seconds a token takes beyond reading the weights.
        prefill: weights a second times tokens of a prompt read: a model of n parameters reads prefill / n
            tokens a second.
    """

    decode: dict[str, float]
    overhead: float = 0.0
    prefill: float | None = None


class Calibration(msgspec.Struct, frozen=True):
    """The measurements. They count for the machine and the llama.cpp that they were taken with.

    Attributes:
        machine: fingerprint of the profile.
        llama: version of llama.cpp.
        measured: when, as ISO 8601 in UTC.
        cpu, gpu: None where it was not measured.
        threads: number of threads tried -> tokens a second.
    """

    machine: str
    llama: str
    measured: str
    cpu: Rates | None = None
    gpu: Rates | None = None
    threads: dict[int, float] = {}

    @property
    def best_threads(self) -> int | None:
        """The fastest; of those within 3 % of it, the fewest."""
        if not self.threads:
            return None
        best = max(self.threads.values())
        return min(count for count, rate in self.threads.items() if rate >= 0.97 * best)


def fingerprint(profile: HardwareProfile) -> str:
    """The same as long as the machine, and what we may use of it, is."""
    memory = profile.memory
    facts = (
        profile.cpu_name,
        [(len(cores.cpus), cores.name, cores.max_mhz, cores.isa) for cores in profile.cpus],
        profile.cpu_quota,
        round((memory.total or 0) / GIB),
        [(gpu.vendor, gpu.name, gpu.api, gpu.memory if not gpu.shared else None) for gpu in profile.gpus],
        profile.board.model if profile.board else None,
    )
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]


def load(directory: Path, profile: HardwareProfile) -> Calibration | None:
    """What is kept in `directory`; None where there is nothing, or it is of another machine or llama.cpp."""
    try:
        found = msgspec.json.decode((directory / FILE).read_bytes(), type=Calibration)
    except (OSError, msgspec.DecodeError):
        return None
    version = profile.llama.version if profile.llama else None
    return found if (found.machine, found.llama) == (fingerprint(profile), version) else None


def save(directory: Path, calibration: Calibration) -> None:
    """Keep it in `directory`, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{FILE}.{os.getpid()}"
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(calibration)) + b"\n")
        partial.replace(directory / FILE)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
