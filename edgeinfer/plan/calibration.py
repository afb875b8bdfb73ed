"""Measurements of this machine by `edgeinfer bench --calibrate`, and their file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.json_file import read_json, write_json
from edgeinfer.plan.tuning import Tuning, model_key

FILE = "calibration.json"
GIB = 1 << 30

ByteRate = Annotated[float, Meta(ge=1e3, le=1e14)]
Seconds = Annotated[float, Meta(ge=0, le=60)]
PrefillRate = Annotated[float, Meta(ge=1, le=1e18)]
ThreadCount = Annotated[int, Meta(ge=1, le=4096)]
TokenRate = Annotated[float, Meta(gt=0, le=1e7)]
"""What a file can say. Anything else was not measured, and would mislead the plan."""


class Rates(msgspec.Struct, frozen=True):
    """Measured speed of one processor.

    Attributes:
        decode: type of the weights -> bytes read per second while one answer is generated, with the plan's number
            of threads: {"Q4_K": 9.1e9, "F16": 11.8e9}. "" stands for the types that were not measured.
        overhead: seconds per token beyond reading the weights.
        prefill: weights times prompt tokens per second: a model of n parameters reads prefill / n tokens per
            second.
    """

    decode: dict[str, ByteRate]
    overhead: Seconds = 0.0
    prefill: PrefillRate | None = None

    def merged(self, other: Rates) -> Rates:
        """Return the better of each figure: other work on a machine can only slow it down."""
        decode = {kind: max(rate, other.decode.get(kind, 0.0)) for kind, rate in self.decode.items()}
        measured = [rate for kind, rate in decode.items() if kind]
        prefill = max((p for p in (self.prefill, other.prefill) if p is not None), default=None)
        return Rates(
            decode | ({"": min(measured)} if measured else {}), min(self.overhead, other.overhead), prefill
        )


class Calibration(msgspec.Struct, frozen=True):
    """Measurements, valid for the machine and the llama.cpp that they were taken with.

    Attributes:
        machine: fingerprint of the profile.
        llama: version of llama.cpp.
        measured: time of the measurement in UTC, as ISO 8601.
        cpu, gpu: None if not measured.
        threads: number of threads -> tokens per second.
        disturbed: why the figures are not to be trusted; None if they are.
        models: the settings that are fastest for single models, by `model_key`.
    """

    machine: str
    llama: str
    measured: str
    cpu: Rates | None = None
    gpu: Rates | None = None
    threads: dict[ThreadCount, TokenRate] = {}
    disturbed: str | None = None
    models: dict[str, Tuning] = {}

    def tuning(self, path: str, header: Header | None) -> Tuning | None:
        """What was measured of the model in a file; None if nothing was."""
        return self.models.get(model_key(path, header))

    def merged(self, other: Calibration) -> Calibration:
        """Return the better figures of two measurements of the same machine."""
        threads = {count: max(rate, other.threads.get(count, 0.0)) for count, rate in self.threads.items()}
        return Calibration(
            machine=other.machine,
            llama=other.llama,
            measured=other.measured,
            cpu=_better(self.cpu, other.cpu),
            gpu=_better(self.gpu, other.gpu),
            threads=threads or other.threads,
            models=self.models | other.models,
        )

    @property
    def best_threads(self) -> int | None:
        """The fewest threads that come within 3 % of the fastest."""
        if not self.threads:
            return None
        best = max(self.threads.values())
        return min(count for count, rate in self.threads.items() if rate >= 0.97 * best)


def _better(one: Rates | None, other: Rates | None) -> Rates | None:
    return one.merged(other) if one and other else one or other


def fingerprint(profile: HardwareProfile) -> str:
    """Return a hash of the machine and of what this process may use of it."""
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
    """Read the calibration in `directory`; None if there is none for this machine and llama.cpp."""
    calibration = read_json(directory / FILE, Calibration)
    if calibration is None:
        return None
    version = profile.llama.version if profile.llama else None
    matches = (calibration.machine, calibration.llama) == (fingerprint(profile), version)
    return calibration if matches else None


def save(directory: Path, calibration: Calibration) -> None:
    """Write the calibration to `directory`. Raises OSError."""
    write_json(directory / FILE, calibration)
