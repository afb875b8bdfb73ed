"""Measurements on a machine that other programs use: noticed, said, and taken again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from edgeinfer.bench import calibrate as module
from edgeinfer.bench.load_watch import LoadWatch
from edgeinfer.cli import main
from edgeinfer.hardware import detect
from edgeinfer.plan.calibration import Calibration, Rates

RATES = Rates({"Q4_0": 20e9, "Q4_K": 22e9, "": 20e9}, 0.001, 1e9)
QUIET = Calibration("m", "1", "2026-01-01T00:00:00+00:00", RATES, None, {4: 20.0})
SLOWED = replace(QUIET, cpu=Rates({"Q4_0": 3.5e9, "Q4_K": 22e9, "": 3.5e9}, 0.002, 5e8), threads={4: 9.0})


@contextmanager
def busy(processes: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_the_work_of_others_is_seen_and_ones_own_is_not() -> None:
    with busy(1):
        time.sleep(0.3)
        watch = LoadWatch()
        time.sleep(1.0)
        others = watch.others()
    assert others > 0.05


def test_ones_own_work_is_not_that_of_others() -> None:
    """Without anything else on the machine it would be 0: what others use is measured beside it."""
    watch, idle = LoadWatch(), psutil.cpu_times().idle
    started, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - started < 1.0:
        pass
    cores = os.cpu_count() or 1
    all_but_idle = 1 - (psutil.cpu_times().idle - idle) / (time.monotonic() - started) / cores
    own = (time.process_time() - cpu) / (time.monotonic() - started) / cores
    assert watch.others() < max(0.05, all_but_idle - own + 0.15)


class Passes:
    """Stands in for the measurement, which takes half a minute, and for the watch over the machine."""

    def __init__(self, passes: list[tuple[Calibration, float]]) -> None:
        self.left = passes
        self.shares: list[float] = []

    async def measured(self, *_: Any, **__: Any) -> Calibration:
        calibration, share = self.left.pop(0)
        self.shares.append(share)
        return calibration

    def others(self) -> float:
        return self.shares[-1]


async def calibrated(
    monkeypatch: pytest.MonkeyPatch, *passes: tuple[Calibration, float]
) -> tuple[Calibration, list[str], int]:
    script, notes = Passes(list(passes)), list[str]()
    monkeypatch.setattr(module, "_measured", script.measured)
    monkeypatch.setattr(module, "LoadWatch", lambda: script)
    calibration = await module.calibrate(detect(), notes.append)
    return calibration, notes, len(script.shares)


async def test_a_quiet_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await calibrated(monkeypatch, (QUIET, 0.02)) == (QUIET, [], 1)


async def test_a_busy_machine_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration, notes, passes = await calibrated(monkeypatch, (SLOWED, 0.6), (QUIET, 0.02))
    assert (calibration, passes) == (QUIET, 2)
    assert notes == ["other programs use 60% of the processor; measuring again"]


async def test_figures_that_contradict_each_other_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration, notes, passes = await calibrated(monkeypatch, (SLOWED, 0.02), (QUIET, 0.02))
    assert (calibration, passes) == (QUIET, 2)
    assert notes == ["one type of weights is read 6.3 times as fast as another; measuring again"]


async def test_a_machine_that_stays_busy_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration, notes, passes = await calibrated(monkeypatch, *[(SLOWED, 0.6)] * 3)
    assert calibration.disturbed == "other programs use 60% of the processor"
    assert (len(notes), passes) == (2, 3)


async def test_the_better_figures_of_two_passes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(QUIET, cpu=Rates({"Q4_0": 21e9, "Q4_K": 9e9, "": 9e9}, 0.003, 2e9))
    calibration, _, _ = await calibrated(monkeypatch, (other, 0.6), (QUIET, 0.02))
    assert calibration.cpu == Rates({"Q4_0": 21e9, "Q4_K": 22e9, "": 21e9}, 0.001, 2e9)


def test_figures_that_cannot_be_kept_are_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Passes([(QUIET, 0.02)])
    monkeypatch.setattr(module, "_measured", script.measured)
    monkeypatch.setattr(module, "LoadWatch", lambda: script)
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEINFER_STORE", str(tmp_path / "file/store"))
    monkeypatch.setattr(sys, "argv", ["edgeinfer", "bench", "--calibrate"])
    assert 0 == main()
    shown = capsys.readouterr().out
    assert "22.0 GB/s" in shown
    assert "Not a directory; plans will not use this result" in shown
