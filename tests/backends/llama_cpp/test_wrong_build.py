"""llama.cpp that was built for another CPU dies of an illegal instruction; no other worker would live longer."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.supervision.worker_exit import WorkerExit
from edgeinfer.bench.measure import open_benchmark
from edgeinfer.errors import EdgeinferError, ModelLoadFailed
from edgeinfer.hardware import llama_build
from edgeinfer.plan.wrong_build import wrong_build
from tests.support.foreign_build import FOREIGN_SET, build_of_variants, foreign_build
from tests.support.llama_client import FAKE, SLOW, eventually, generate, kill, supervised, text
from tests.support.worker_faults import faulty


class Diagnosis:
    """Finds the build at fault whenever a worker dies of an illegal instruction, and counts those."""

    def __init__(self) -> None:
        self.exits = 0

    def __call__(self, exit: WorkerExit) -> EdgeinferError | None:
        self.exits += 1
        return ModelLoadFailed("it is for another CPU") if exit.status == -signal.SIGILL else None


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp as it comes from another machine."""
    foreign_build(tmp_path / "lib", monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_only_an_illegal_instruction_is_examined(foreign: None) -> None:
    """The error names what the CPU lacks, and what to do."""
    assert wrong_build(-signal.SIGSEGV) is None
    error = wrong_build(-signal.SIGILL)
    assert error
    assert f"llama.cpp was built for a CPU with {FOREIGN_SET}, and this one" in error.message
    assert "scripts/setup" in str(error.hint)


def test_a_build_that_suits_is_not_blamed() -> None:
    """Somebody may have sent the signal, or a compiler was wrong."""
    assert llama_build.llama_build()
    assert wrong_build(-signal.SIGILL) is None


async def test_a_build_for_another_cpu_fails_once_and_for_good(foreign: None, model_file: Path) -> None:
    """It is not tried with safer settings, which cannot help."""
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=1, cells=512, batch=64, threads=1)
    exits: list[WorkerExit] = []

    def diagnose(exit: WorkerExit) -> EdgeinferError | None:
        exits.append(exit)
        return wrong_build(exit.status)

    async with supervised(real, diagnose=diagnose) as client:
        with pytest.raises(ModelLoadFailed, match=f"for a CPU with {FOREIGN_SET}"):
            await client.ready()
        assert ("failed", 0, []) == (client.health.state, client.health.restarts, client.config_changes)
        assert [-signal.SIGILL] == [exit.status for exit in exits]


async def test_variants_that_are_all_for_other_cpus_are_named(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's file is not to blame."""
    build_of_variants(tmp_path / "lib", monkeypatch, "haswell", "zen4")
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=1, cells=512, batch=64, threads=1)
    async with supervised(real) as client:
        with pytest.raises(ModelLoadFailed, match="can be loaded on this CPU: haswell, zen4") as error:
            await client.ready()
        assert "edgeinfer doctor" in str(error.value.hint)


async def test_it_may_be_found_out_at_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test did not meet the instruction. The request gets the reason, and there is no other worker."""
    faulty(monkeypatch, poison={"token": 7, "position": 0, "how": "SIGILL"})
    diagnosis = Diagnosis()
    async with supervised(FAKE, diagnose=diagnosis) as client:
        with pytest.raises(ModelLoadFailed, match="it is for another CPU"):
            await text(client, "\x07")
        assert ("failed", 0, 1) == (client.health.state, client.health.restarts, diagnosis.exits)
        assert client.health.last_error
        assert not client.health.healthy


async def test_it_may_be_found_out_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp was replaced while the worker ran. An answer in progress ends with the reason."""
    diagnosis = Diagnosis()
    async with supervised(SLOW, diagnose=diagnosis) as client:
        answer = generate(client, "hello")
        await anext(answer)
        faulty(monkeypatch, load=[{"if": {}, "how": "SIGILL"}])
        kill(client)
        with pytest.raises(ModelLoadFailed, match="it is for another CPU"):
            async for _ in answer:
                pass
        assert ("failed", 1, 2) == (client.health.state, client.health.restarts, diagnosis.exits)


async def test_a_signal_from_outside_costs_a_pause() -> None:
    """The build suits the CPU, so the next worker goes on."""
    async with supervised(SLOW, diagnose=lambda exit: wrong_build(exit.status)) as client:
        await client.ready()
        kill(client, signal.SIGILL)
        await eventually(lambda: client.health.restarts and client.info)
        assert await text(client)


async def test_a_measurement_says_it_too(foreign: None, model_file: Path) -> None:
    """It has a worker of its own, which nobody restarts."""
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=1, cells=512, batch=64, threads=1)
    with pytest.raises(ModelLoadFailed, match=f"for a CPU with {FOREIGN_SET}"):
        async with open_benchmark(real):
            pass
