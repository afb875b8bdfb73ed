"""What is known of this machine, detected at most once a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from edgeinfer.hardware import detect
from edgeinfer.hardware.describe import describe
from edgeinfer.plan import calibration
from edgeinfer.plan.benchmarks import BenchmarkResult, load_results
from edgeinfer.plan.calibration import Calibration

MAX_AGE = 60.0
"""Seconds for which what was detected is kept: some of it takes a command to find out."""


class KnownMachine(Struct, frozen=True):
    """The machine in words, and what has been measured of it.

    Attributes:
        facts: labels and texts, as `edgeinfer plan` shows them.
        calibration: None if the machine has not been measured.
        benchmarks: of models, the newest first.
    """

    facts: Sequence[tuple[str, str]]
    calibration: Calibration | None
    benchmarks: Sequence[BenchmarkResult]


class MachineFacts:
    """Detects the machine when somebody asks, once for all who ask at the same time."""

    def __init__(self, models: Callable[[], Path]) -> None:
        """`models`: the directory of the models."""
        self._models = models
        self._lock = asyncio.Lock()
        self._known: KnownMachine | None = None
        self._detected = 0.0

    async def get(self) -> KnownMachine:
        async with self._lock:
            if self._known is None or time.monotonic() >= self._detected + MAX_AGE:
                self._known = await asyncio.to_thread(_detect, self._models())
                self._detected = time.monotonic()
            return self._known


def _detect(models: Path) -> KnownMachine:
    profile = detect(models=models)
    return KnownMachine(describe(profile), calibration.load(models, profile), load_results(models))
