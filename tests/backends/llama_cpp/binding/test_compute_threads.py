"""Threads make room for other processes, and come back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgeinfer.backends.llama_cpp.binding.compute_threads import (
    PERIOD,
    ComputeThreads,
    CpuTimes,
    read_cpu_times,
)
from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch, DecodeStatus

CPUS = os.cpu_count() or 1


class Machine:
    """Processors that others keep busy as told, while the process itself is busy with all of its threads."""

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus
        self.now = self.all = self.own = 0.0
        self.tells = True

    def times(self) -> CpuTimes | None:
        return CpuTimes(self.cpus, self.all, self.own) if self.tells else None

    def run(self, seconds: float, others: float, own: float = 1.0) -> None:
        """`others`, `own`: cores that they use."""
        self.now += seconds
        self.own += own * seconds
        self.all += (own + others) * seconds

    def threads(self, most: int, **settings: Any) -> ComputeThreads:
        config = LlamaConfig("m.gguf", "m", threads=most, **settings)
        return ComputeThreads(config, self.times, lambda: self.now)


@pytest.mark.parametrize(
    ("cpus", "most", "loads"),
    [
        (2, 2, [(0.0, 2), (0.5, 2), (0.95, 1), (0.5, 1), (0.4, 1), (0.3, 2), (0.5, 2)]),
        (2, 2, [(1.4, 1), (2.0, 1), (0.0, 2)]),
        (4, 4, [(1.0, 3), (2.1, 2), (3.5, 1), (8.0, 1), (2.0, 2), (1.2, 3), (0.1, 4)]),
        (4, 4, [(0.7, 3), (0.5, 3), (0.3, 4)]),
        (8, 4, [(4.0, 4), (5.0, 3), (4.5, 3), (4.3, 4)]),  # cores of which the plan uses half
        (64, 2, [(60.0, 2), (63.0, 1)]),  # a container with a quota of two
    ],
)
def test_each_busy_process_gets_a_core(cpus: int, most: int, loads: list[tuple[float, int]]) -> None:
    machine = Machine(cpus)
    threads = machine.threads(most)
    for others, expected in loads:
        machine.run(PERIOD, others, own=threads.count)
        assert expected == threads.look(), others


def test_what_the_process_itself_uses_counts_for_nothing() -> None:
    """Compiling a schema, say."""
    machine = Machine(2)
    threads = machine.threads(2)
    machine.run(1.0, others=0.0, own=2.0)
    assert 2 == threads.look()


def test_looks_are_a_period_apart() -> None:
    """A moment says nothing: the system counts in steps of 10 ms."""
    machine = Machine(2)
    threads = machine.threads(2)
    machine.run(0.9 * PERIOD, others=2.0)
    assert 2 == threads.look()
    machine.run(0.1 * PERIOD, others=2.0)
    assert 1 == threads.look()


def test_without_knowledge_the_number_stays() -> None:
    machine = Machine(2)
    threads = machine.threads(2)
    machine.run(1.0, others=2.0)
    machine.tells = False
    assert 2 == threads.look()
    machine.tells = True
    machine.run(1.0, others=2.0)
    assert 2 == threads.look()


def test_answers_that_must_not_differ_keep_the_number() -> None:
    """Flash attention of one token adds up a share for each thread: `deterministic` on a GPU's machine, say."""
    machine = Machine(8)
    threads = machine.threads(8, determinism="alone", parallel=1, max_draft=0)
    machine.run(1.0, others=6.0)
    assert 8 == threads.look()


STAT = """\
cpu  100 200 300 400 500 600 700 800 0 0
{lines}
intr 5 0 9
ctxt 12
"""


def test_only_what_takes_a_core_counts(tmp_path: Path) -> None:
    """Neither idle, nor waiting for a disk, nor what gives way, nor what another machine took."""
    file = tmp_path / "stat"
    lines = [f"cpu{cpu} 100 9000 20 9000 9000 3 4 9000 9000 9000" for cpu in sorted(os.sched_getaffinity(0))]
    file.write_text(STAT.format(lines="\n".join([*lines, "cpu9999 7 7 7 7 7 7 7 7 7 7"])))
    times = read_cpu_times(str(file))
    assert times
    assert times.cpus == len(lines)
    assert times.all == pytest.approx(len(lines) * 127 / os.sysconf("SC_CLK_TCK"))


@pytest.mark.parametrize("content", ["cpu0 1 2", "cpu0 a b c d e f g", None])
def test_a_system_that_tells_nothing_of_use(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "stat"
    if content:
        cpus = sorted(os.sched_getaffinity(0))
        file.write_text("\n".join(content.replace("cpu0", f"cpu{cpu}") for cpu in cpus))
    assert read_cpu_times(str(file)) is None


@pytest.fixture
def config(model_file: Path) -> LlamaConfig:
    return LlamaConfig(
        str(model_file), "test", ctx=256, parallel=1, cells=256, batch=64, threads=max(2, CPUS)
    )


@pytest.fixture
def backend(config: LlamaConfig, llama_log: LogCapture) -> Iterator[LlamaBackend]:
    model = LlamaModel(config, llama_log)
    backend = LlamaBackend(model, config)
    yield backend
    backend.close()
    model.close()


def decode(backend: LlamaBackend) -> np.ndarray:
    """The logits after two tokens, the second in a step of its own."""
    batch = Batch(2)
    backend.remove(0, 0)
    for position, token in enumerate((5, 6)):
        batch.clear()
        batch.add(0, position, [token], output=True)
        assert backend.decode(batch) is DecodeStatus.OK
    return backend.logits(0).copy()


def test_logits_do_not_depend_on_the_threads(backend: LlamaBackend, config: LlamaConfig) -> None:
    logits = decode(backend)
    for count in (1, 2, 1):
        backend._threads = ComputeThreads(msgspec.structs.replace(config, threads=count), lambda: None)
        np.testing.assert_array_equal(logits, decode(backend))
        assert count == backend.threads


def wait_for(backend: LlamaBackend, condition: Callable[[], bool]) -> None:
    """Compute until it is true."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"still {backend.threads} threads"
        decode(backend)


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux" or CPUS < 2, reason="there is no core to leave to others")
def test_threads_leave_cores_to_busy_processes(backend: LlamaBackend) -> None:
    most = backend.threads
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CPUS)]
    try:
        wait_for(backend, lambda: backend.threads < most)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    wait_for(backend, lambda: backend.threads == most)
