"""Memory that our own workers hold."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
from msgspec.structs import replace

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan import MemoryEstimate, make_plan
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.own_memory import (
    HeldMemory,
    ModelMemory,
    held_by,
    model_memory,
    with_memory,
    without_memory,
    without_workers,
    worker_pids,
)
from edgeinfer.plan.several import fits_beside
from edgeinfer.settings import Settings
from tests.support.machines import CARD, GB, METAL, machine


def test_what_our_own_workers_hold_counts_as_available() -> None:
    """A plan made while the service runs takes effect after its restart."""
    code = "import sys; block = bytearray(80_000_000); print(len(block), flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, "-m", "edgeinfer.backends.llama_cpp.worker.process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        worker.stdout.readline()
        held = held_by(worker.pid)
        assert worker.pid in worker_pids()
        available = without_workers(machine(2)).memory.available or 0
        worker.communicate()
    assert 80_000_000 < held < 120_000_000
    assert 2 * GB + 80_000_000 < available <= 16 * GB


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_a_worker_leaves_to_the_next_counts_too() -> None:
    """It is in a file in memory: unlike other files, that takes RAM which is free once the model is unloaded."""
    code = "import mmap, sys; m = mmap.mmap(-1, 60_000_000); m.write(bytes(60_000_000)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout
        worker.stdout.readline()
        held = held_by(worker.pid)
        worker.communicate()
    assert 60_000_000 < held < 100_000_000


def test_only_running_workers_count() -> None:
    """Other processes and workers that have ended do not count."""
    assert [] == worker_pids([psutil.Process(os.getpid())])
    with subprocess.Popen(
        [sys.executable, "-c", "", "-m", "edgeinfer.backends.llama_cpp.worker.process"]
    ) as gone:
        process = psutil.Process(gone.pid)
    assert [] == worker_pids([process])
    assert 0 == held_by(gone.pid)


def test_no_more_is_available_than_there_is() -> None:
    """Available memory never exceeds the total or the limit, and stays unknown if it is."""
    assert GB == without_workers(machine(memory=Memory(GB, GB, None))).memory.available
    assert GB // 2 == without_workers(machine(memory=Memory(GB, GB // 2, GB // 2))).memory.available
    assert None is without_workers(machine(memory=Memory(GB, None, None))).memory.available


def test_the_plan_reckons_with_what_the_old_worker_will_free() -> None:
    """It never exceeds what the machine has, and memory that a GPU shares counts once."""
    profile = HardwareProfile(
        cpus=[],
        cpu_quota=None,
        memory=Memory(total=1000, available=300, limit=None),
        gpus=(
            Gpu("nvidia", "a card", memory=100, available=20),
            Gpu("apple", "a chip", memory=900, available=5, shared=True),
            Gpu("amd", "another"),
        ),
    )
    freed = with_memory(profile, HeldMemory(ram=200, gpu=50))
    assert (500, [70, 5, None]) == (freed.memory.available, [gpu.available for gpu in freed.gpus])
    most = with_memory(profile, HeldMemory(ram=5000, gpu=5000))
    assert (1000, 100) == (most.memory.available, most.gpus[0].available)


@pytest.mark.parametrize(
    ("needed", "gpu", "ram", "vram", "expected"),
    [
        (300, 0, 500, None, True),
        (301, 0, 500, None, False),
        (300, 0, None, None, False),
        (100, 50, 500, 150, True),
        (100, 51, 500, 150, False),
    ],
)
def test_two_at_once_need_memory_for_both(
    needed: int, gpu: int, ram: int | None, vram: int | None, expected: bool
) -> None:
    """The old worker still holds 200 bytes, and 100 on the GPU."""
    plan = replace(
        make_plan(Settings(model="fake")),
        memory=MemoryEstimate(needed, gpu_weights=gpu),
        budget=MemoryBudget(ram, vram),
    )
    assert expected is fits_beside(plan, ModelMemory(MemoryEstimate(0), HeldMemory(ram=200, gpu=100)))


def test_what_a_model_counts_on_is_what_it_has_not_taken() -> None:
    """Mapped weights look available; a model that takes more than predicted counts on nothing more."""
    predicted = MemoryEstimate(1000, kv=200, worker=100, daemon=50, gpu_weights=70)
    assert HeldMemory(850, 70) == ModelMemory(predicted, HeldMemory(500, 0)).pending
    assert HeldMemory(0, 0) == ModelMemory(predicted, HeldMemory(5000, 70)).pending


def test_a_worker_is_measured_by_its_process_id() -> None:
    """A worker that has ended holds nothing, neither in RAM nor on a GPU."""
    predicted = MemoryEstimate(1000, daemon=500, gpu_weights=70)
    here = model_memory(predicted, os.getpid())
    assert here.held.ram > 1_000_000
    assert 70 == here.held.gpu
    assert 0 == here.pending.ram
    assert HeldMemory(1000, 70) == model_memory(predicted, None).pending


def test_memory_that_is_taken_is_not_available() -> None:
    """This holds for cards and for shared memory; the rest is never negative."""
    taken = without_memory(machine(8, CARD, METAL), HeldMemory(3 * GB, 4 * GB))
    assert 5 * GB == taken.memory.available
    assert (8 * GB, 6 * GB) == (taken.gpus[0].available, taken.gpus[1].memory)
    none = without_memory(machine(8, CARD), HeldMemory(30 * GB, 40 * GB))
    assert (0, 0) == (none.memory.available, none.gpus[0].available)
    assert None is without_memory(machine(memory=Memory(GB, None, None)), HeldMemory(1)).memory.available
