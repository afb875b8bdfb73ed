"""Measures the speed of this machine by type of weight: a few seconds for each, with models of random weights."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.bench.load_watch import LoadWatch
from edgeinfer.bench.measure import Throughput, open_benchmark
from edgeinfer.bench.synthetic import layer_bytes, layer_weights, write_model
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration, Rates, fingerprint
from edgeinfer.plan.gpu_placement import choose_gpu
from edgeinfer.plan.kernels import has_kernels
from edgeinfer.plan.threads import choose_threads

TYPES = ("Q4_0", "Q4_K", "Q5_0", "Q6_K", "Q8_0", "F16")
"""Types to measure. A Q4_K_M has Q4_K and Q6_K, and Q5_0 for rows that are not a multiple of 256."""

SIZE = 160_000_000
"""Bytes of a model: several times what a board's caches hold, and still computed within seconds."""

MIN_LAYERS = 3
PROMPT_TOKENS, OUTPUT_TOKENS = 256, 24
ROUNDS = 2
"""Measurements of each model; the best counts, since other work on the machine can only slow it down."""

MAX_PASSES = 3
"""Passes over a machine that other programs use. The best figures count."""

MAX_SECONDS = 60.0
"""Time after which no further pass begins: an installation is waiting."""

MAX_OTHERS = 0.1
"""Share of the cores that other programs may use while a figure is taken."""

MAX_RATIO = 5.0
"""Ratio between the fastest and the slowest type of weights above which one of them must have been disturbed."""

ALL_LAYERS = -1
RAM_DISK = Path("/dev/shm")

Note = Callable[[str], None]


class _Timing(NamedTuple):
    """Throughput of a model with `size` bytes of weights."""

    size: int
    layers: int
    throughput: Throughput


async def calibrate(
    profile: HardwareProfile, note: Note = lambda _: None, *, size: int = SIZE, types: Sequence[str] = TYPES
) -> Calibration:
    """Measure this machine, and report progress and results to `note`.

    It is measured again if other programs use it meanwhile, or if the figures contradict each other. If that does not
    help, the result is marked as disturbed.

    Raises:
        EdgeinferError: llama.cpp cannot load a model at all.
    """
    started, watch = time.monotonic(), LoadWatch()
    calibration = await _measured(profile, note, size=size, types=types)
    for _ in range(MAX_PASSES - 1):
        if not (problem := _problem(calibration, watch.others())):
            return calibration
        if time.monotonic() - started > MAX_SECONDS:
            break
        note(f"{problem}; measuring again")
        watch = LoadWatch()
        calibration = calibration.merged(await _measured(profile, note, size=size, types=types))
    return replace(calibration, disturbed=_problem(calibration, watch.others()))


def _problem(calibration: Calibration, others: float) -> str | None:
    """Say why a measurement is not to be trusted; None if it is."""
    if others > MAX_OTHERS:
        return f"other programs use {others:.0%} of the processor"
    for rates in (calibration.cpu, calibration.gpu):
        speeds = rates.decode.values() if rates else [1.0]
        if max(speeds) > MAX_RATIO * min(speeds):
            return f"one type of weights is read {max(speeds) / min(speeds):.1f} times as fast as another"
    return None


async def _measured(profile: HardwareProfile, note: Note, *, size: int, types: Sequence[str]) -> Calibration:
    with _folder(size) as folder:
        cpu = await _Processor(folder, profile, 0, note, size).rates(types)
        gpu = None
        if choose_gpu(profile).gpu is not None:
            gpu = await _Processor(folder, profile, ALL_LAYERS, note, size).rates(types)
        threads = await _Processor(folder, profile, 0, note, size).threads(types[0])
    return Calibration(
        machine=fingerprint(profile),
        llama=profile.llama.version if profile.llama else "",
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        cpu=cpu,
        gpu=gpu,
        threads=threads,
    )


class _Processor:
    """Measures the CPU or the GPU."""

    def __init__(
        self, folder: Path, profile: HardwareProfile, gpu_layers: int, note: Note, size: int
    ) -> None:
        self._path = folder / "random.gguf"
        self._note = note
        self._size = size
        best = choose_threads(profile, None)
        self._cores = sum(len(cores.cpus) for cores in profile.cpus)
        self._config = LlamaConfig(
            model=str(self._path),
            name="random",
            ctx=1024,
            parallel=1,
            cells=2048,
            threads=best.count,
            cpus=best.cpus,
            gpu_layers=gpu_layers,
            flash_attention=gpu_layers != 0 or has_kernels(profile),
            ubatch=512 if gpu_layers else 128,
        )
        self._name = "GPU" if gpu_layers else "CPU"

    async def rates(self, types: Sequence[str]) -> Rates:
        """Measure each type. A model of one layer shows what a token costs besides reading its weights."""
        timings = {
            kind: await self._time(kind, max(self._size, MIN_LAYERS * layer_bytes(kind))) for kind in types
        }
        first = timings[types[0]]
        small = await self._time(types[0], layer_bytes(types[0]))
        overhead = _overhead(small, first)
        decode = {kind: _rate(timing, overhead) for kind, timing in timings.items()}
        for kind, rate in decode.items():
            self._note(f"{self._name}, {kind}: {rate / 1e9:.1f} GB/s")
        prefill = max(t.throughput.prompt_rate * (t.layers - 1) for t in timings.values()) * layer_weights()
        return Rates(decode=decode | {"": min(decode.values())}, overhead=overhead, prefill=prefill)

    async def threads(self, kind: str) -> dict[int, float]:
        """Return tokens per second by number of threads: the plan's, and half of them if that may be as fast."""
        planned = self._config.threads
        counts = sorted({planned, planned // 2} if planned > 2 else {planned})
        if len(counts) == 1:
            return {}
        rates = {}
        for count in counts:
            timing = await self._time(kind, self._size, replace(self._config, threads=count))
            rates[count] = round(timing.throughput.answer_rate, 2)
            self._note(f"{count} threads: {rates[count]:.1f} tok/s")
        return rates

    async def _time(self, kind: str, size: int, config: LlamaConfig | None = None) -> _Timing:
        self._note(f"{self._name}, {kind} …")
        written, layers = write_model(self._path, kind, size)
        try:
            async with open_benchmark(config or self._config) as benchmark:
                await benchmark.measure(16, 4)  # loads pages, starts threads
                rounds = [await benchmark.measure(PROMPT_TOKENS, OUTPUT_TOKENS) for _ in range(ROUNDS)]
        finally:
            self._path.unlink()
        best = Throughput(max(r.prompt_rate for r in rounds), max(r.answer_rate for r in rounds))
        return _Timing(written, layers, best)


def _overhead(small: _Timing, large: _Timing) -> float:
    """Return the seconds a token takes beyond reading its weights: the intercept of a line through two models."""
    slope = (1 / large.throughput.answer_rate - 1 / small.throughput.answer_rate) / (large.size - small.size)
    return max(0.0, 1 / large.throughput.answer_rate - slope * large.size) if slope > 0 else 0.0


def _rate(timing: _Timing, overhead: float) -> float:
    """Return bytes of weights per second."""
    seconds = 1 / timing.throughput.answer_rate
    return timing.size / max(seconds - overhead, seconds / 2)


@contextmanager
def _folder(size: int) -> Iterator[Path]:
    """Make a folder for the models: in memory if they fit there twice, since loading makes a copy."""
    fits = RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free > 3 * size
    with tempfile.TemporaryDirectory(prefix="edgeinfer-", dir=RAM_DISK if fits else None) as folder:
        yield Path(folder)
