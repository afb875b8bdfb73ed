"""On five kinds of 64-bit ARM processors edgeinfer sees what it runs on, and answers on four as it does on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from tests.arm.conftest import beside, emulated
from tests.support.arm_box import open_box
from tests.support.arm_daemon import SCHEMA, Answers
from tests.support.selection import selected

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]

BUNDLED, Q4_0 = "edgeinfer-nano", "q4"


class Processor(NamedTuple):
    """Name and instruction sets as edgeinfer calls them, and the part of llama.cpp that is made for it."""

    name: str | None
    isa: list[str]
    variant: str


PROCESSORS = {
    "cortex-a53": Processor("Cortex-A53", ["neon"], "armv8.0_1"),
    "cortex-a72": Processor("Cortex-A72", ["neon"], "armv8.0_1"),
    "cortex-a76": Processor("Cortex-A76", ["neon", "dotprod", "fp16"], "armv8.2_2"),
    "max,sve=off,sme=off": Processor(None, ["neon", "dotprod", "fp16", "i8mm", "bf16"], "armv8.6_0"),
    "max,sme=off": Processor(None, ["neon", "dotprod", "fp16", "i8mm", "sve", "bf16"], "armv8.6_2"),
}


ANSWERING = [
    "cortex-a72",
    "cortex-a76",
    *(pytest.param(cpu, marks=pytest.mark.heavy) for cpu in ("max,sve=off,sme=off", "max,sme=off")),
]
"""All but one of two that have the same part of llama.cpp."""


class Observed(NamedTuple):
    """What a daemon did on one processor."""

    variants: set[str]
    confinement: str
    answers: dict[str, Answers]
    json: dict[str, Any]
    resumed: str
    restarts: int


def plan_on(cpu: str, layers: Sequence[Path]) -> dict[str, Any]:
    """The plan that edgeinfer makes there."""
    with open_box(cpu, layers) as box:
        plan = box.run("python3", "-m", "edgeinfer", "plan", "--model", BUNDLED, "--json")
    return dict(json.loads(plan))


def observe(cpu: str, layers: Sequence[Path]) -> Observed:
    with open_box(cpu, layers) as box, emulated(box) as daemon:
        confinement = daemon.fetch("/status")["confinement"]["worker"]
        maps = box.run("cat", f"/proc/{daemon.worker()}/maps")
        answers = {model: daemon.answers(model) for model in (BUNDLED, Q4_0)}
        answer = daemon.json(BUNDLED)
        resumed = "".join(daemon.stream(BUNDLED, kill_after=8))
        restarts = daemon.fetch("/status")["restarts"]
    variants = set(re.findall(r"/libggml-cpu-(\S+)\.so", maps))
    return Observed(variants, confinement, answers, answer, resumed, restarts)


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """Two at a time, for two cores."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def plans(executor: Executor, layers: Sequence[Path]) -> Mapping[str, Future[dict[str, Any]]]:
    return {cpu: executor.submit(plan_on, cpu, layers) for cpu in PROCESSORS}


@pytest.fixture(scope="module")
def all_observed(
    executor: Executor, layers: Sequence[Path], request: pytest.FixtureRequest
) -> Mapping[str, Future[Observed]]:
    return {cpu: executor.submit(observe, cpu, layers) for cpu in selected(request, "cpu")}


@pytest.fixture(params=ANSWERING)
def cpu(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def observed(all_observed: Mapping[str, Future[Observed]], cpu: str) -> Observed:
    return all_observed[cpu].result()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Mapping[str, Answers]:
    """The answers on this machine."""
    with beside(tmp_path_factory.mktemp("home"), models) as daemon:
        return {model: daemon.answers(model) for model in (BUNDLED, Q4_0)}


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_the_plan_is_for_the_emulated_processor(
    plans: Mapping[str, Future[dict[str, Any]]], cpu: str
) -> None:
    """All cores are of one kind, and there is no board whose facts it could be confused with."""
    plan, machine = plans[cpu].result(), plans[cpu].result()["machine"]
    (kind,) = machine["cpus"]
    assert PROCESSORS[cpu][:2] == (kind["name"], kind["isa"])
    assert list(range(os.cpu_count() or 1)) == kind["cpus"]
    assert PROCESSORS[cpu].variant == machine["llama"]["variant"]
    assert "aarch64" == machine["system"]["machine"]
    assert [None, None, []] == [machine["board"], machine["npu"], machine["gpus"]]
    assert plan["fits"]


def test_the_worker_uses_the_part_made_for_its_processor(observed: Observed, cpu: str) -> None:
    """Of all the parts that the wheel has it keeps only that one, which the plan names too."""
    assert {PROCESSORS[cpu].variant} == observed.variants


@pytest.mark.parametrize("model", [BUNDLED, Q4_0])
def test_answers_are_the_same_as_here(
    observed: Observed, expected: Mapping[str, Answers], model: str
) -> None:
    """A chat, one that is streamed, and a call of a tool."""
    assert expected[model] == observed.answers[model]


def test_an_answer_keeps_to_its_schema(observed: Observed) -> None:
    """What it says is not compared: the model is in doubt, and rounding may decide."""
    jsonschema.validate(observed.json, SCHEMA)


def test_a_stream_goes_on_after_its_worker_was_killed(
    observed: Observed, expected: Mapping[str, Answers]
) -> None:
    """The client gets the text that it would have got."""
    assert expected[BUNDLED].stream == observed.resumed
    assert 1 == observed.restarts


def test_layers_that_the_emulator_lacks_are_named(observed: Observed) -> None:
    """It has neither Landlock nor seccomp; the worker runs without them, and the daemon says so."""
    assert "no Landlock: this kernel does not have it" in observed.confinement
    assert "no seccomp" in observed.confinement
