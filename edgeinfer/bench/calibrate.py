"""What this machine's memory and cores give, by type of weight: a few seconds for each, with models of noise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.bench.measure import Throughput, bench
from edgeinfer.bench.synthetic import layer_bytes, layer_weights, write
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration, Rates, fingerprint
from edgeinfer.plan.gpu_placement import placement
from edgeinfer.plan.threads import threads

TYPES = ("Q4_0", "Q4_K", "Q5_0", "Q6_K", "Q8_0", "F16")
"""A Q4_K_M is of Q4_K and Q6_K, and of Q5_0 where rows are no multiple of 256."""

SIZE = 160_000_000
"""Bytes of a model of noise: several times what a board's caches hold, and seconds to compute with."""

LEAST_LAYERS = 3
PROMPT, ANSWER = 256, 24
ROUNDS = 2
"""The best of so many: what else the machine does can only slow it down."""

ALL_LAYERS = -1
RAM_DISK = Path("/dev/shm")

Note = Callable[[str], None]


class _Timed(NamedTuple):
    """Bytes of weights, tokens a second while reading and writing."""

    size: int
    layers: int
    rates: Throughput


async def calibrate(
    profile: HardwareProfile, note: Note = lambda _: None, *, size: int = SIZE, types: Sequence[str] = TYPES
) -> Calibration:
    """Measure; `note` is told what is measured, and what came out.

    Nothing else should run meanwhile.

    Raises:
        EdgeinferError: llama.cpp can't load a model at all.
    """
    with _folder(size) as folder:
        own = await _Side(folder, profile, 0, note, size).rates(types)
        there = placement(profile).gpu is not None
        card = await _Side(folder, profile, ALL_LAYERS, note, size).rates(types) if there else None
        tried = await _Side(folder, profile, 0, note, size).threads(types[0])
    return Calibration(
        machine=fingerprint(profile),
        llama=profile.llama.version if profile.llama else "",
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        cpu=own,
        gpu=card,
        threads=tried,
    )


class _Side:
    """The CPU, or the GPU."""

    def __init__(
        self, folder: Path, profile: HardwareProfile, gpu_layers: int, note: Note, size: int
    ) -> None:
        self._path = folder / "noise.gguf"
        self._note = note
        self._size = size
        best = threads(profile, None)
        self._cores = sum(len(cores.cpus) for cores in profile.cpus)
        self._config = LlamaConfig(
            model=str(self._path),
            name="noise",
            ctx=1024,
            parallel=1,
            cells=2048,
            threads=best.count,
            cpus=best.cpus,
            gpu_layers=gpu_layers,
            flash_attention=gpu_layers != 0,
            ubatch=512 if gpu_layers else 128,
        )
        self._where = "GPU" if gpu_layers else "CPU"

    async def rates(self, types: Sequence[str]) -> Rates:
        """Of the types; what a token costs beside its weights is what a model of one layer shows."""
        timed = {
            kind: await self._time(kind, max(self._size, LEAST_LAYERS * layer_bytes(kind))) for kind in types
        }
        first = timed[types[0]]
        small = await self._time(types[0], layer_bytes(types[0]))
        overhead = _overhead(small, first)
        decode = {kind: _rate(t, overhead) for kind, t in timed.items()}
        for kind, rate in decode.items():
            self._note(f"{self._where}, {kind}: {rate / 1e9:.1f} GB/s")
        prefill = max(t.rates.prompt_rate * (t.layers - 1) for t in timed.values()) * layer_weights()
        return Rates(decode=decode | {"": min(decode.values())}, overhead=overhead, prefill=prefill)

    async def threads(self, kind: str) -> dict[int, float]:
        """Tokens a second by number of threads: the plan's, and half of them where that may be as fast."""
        planned = self._config.threads
        counts = sorted({planned, planned // 2} if planned > 2 else {planned})
        if len(counts) == 1:
            return {}
        found = {}
        for count in counts:
            timed = await self._time(kind, self._size, replace(self._config, threads=count))
            found[count] = round(timed.rates.answer_rate, 2)
            self._note(f"{count} threads: {found[count]:.1f} tok/s")
        return found

    async def _time(self, kind: str, size: int, config: LlamaConfig | None = None) -> _Timed:
        self._note(f"{self._where}, {kind} …")
        written, layers = write(self._path, kind, size)
        try:
            async with bench(config or self._config) as worker:
                await worker.measure(16, 4)  # pages come in, threads start
                rounds = [await worker.measure(PROMPT, ANSWER) for _ in range(ROUNDS)]
        finally:
            self._path.unlink()
        best = Throughput(max(r.prompt_rate for r in rounds), max(r.answer_rate for r in rounds))
        return _Timed(written, layers, best)


def _overhead(small: _Timed, large: _Timed) -> float:
    """Seconds a token takes beyond reading its weights, from two models of one type: a straight line's foot."""
    slope = (1 / large.rates.answer_rate - 1 / small.rates.answer_rate) / (large.size - small.size)
    return max(0.0, 1 / large.rates.answer_rate - slope * large.size) if slope > 0 else 0.0


def _rate(timed: _Timed, overhead: float) -> float:
    """Bytes of weights a second."""
    spent = 1 / timed.rates.answer_rate
    return timed.size / max(spent - overhead, spent / 2)


@contextmanager
def _folder(size: int) -> Iterator[Path]:
    """A place for a model of noise: in memory where there is room for it twice, as what is loaded is a copy."""
    roomy = RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free > 3 * size
    with tempfile.TemporaryDirectory(prefix="edgeinfer-", dir=RAM_DISK if roomy else None) as folder:
        yield Path(folder)
