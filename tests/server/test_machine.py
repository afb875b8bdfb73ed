"""GET /machine says what this machine is, and what its memory is used for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.hardware.describe import describe
from edgeinfer.plan import calibration
from edgeinfer.plan.benchmarks import BenchmarkResult, load_results, save_result
from edgeinfer.plan.calibration import Calibration, Rates, fingerprint
from tests.support.server import Scripted, Served, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as served:
        yield served


def test_its_facts_are_those_of_the_plan(served: Served) -> None:
    found = served.client.get("/machine").json()["facts"]
    expected = describe(detect())
    assert [fact["name"] for fact in found] == [name for name, _ in expected]
    (cpu,) = [fact["text"] for fact in found if fact["name"] == "CPU"]
    assert cpu == dict(expected)["CPU"]


def test_its_memory_is_what_the_daemon_may_use(served: Served) -> None:
    memory = served.client.get("/machine").json()["memory"]
    assert 0 < memory["available"] <= memory["total"] <= psutil.virtual_memory().total
    assert 0 < memory["daemon"] < memory["total"]
    assert memory["models"] == 0, "the scripted model has no process"


def test_temperatures_have_the_degrees_of_the_sensors(served: Served) -> None:
    found = served.client.get("/machine").json()
    assert all(-50 < zone["temperature"] < 150 for zone in found["temperatures"])
    assert all(device["state"] > 0 for device in found["throttled"])
    assert found["load"] >= 0


def test_it_has_what_bench_has_measured(tmp_path: Path) -> None:
    """Of each model the last result, the newest first; a damaged file is none."""
    profile = detect(models=tmp_path)
    for hour, rate in enumerate([5.0, 6.0, 7.0]):
        name = "b" if hour == 1 else "a"
        save_result(tmp_path, BenchmarkResult(name, f"2026-01-01T0{hour}:00:00", 2, 10.0, rate, 2 * rate))
    rates = Rates({"Q4_0": 9e9, "": 9e9})
    calibration.save(tmp_path, Calibration(fingerprint(profile), installed(profile), "2026-01-01", rates))
    with serving(Scripted(), store=str(tmp_path)) as served:
        found = served.client.get("/machine").json()
    assert [(one["model"], one["answer_rate"]) for one in found["benchmarks"]] == [("a", 7.0), ("b", 6.0)]
    assert found["calibration"]["cpu"]["decode"]["Q4_0"] == 9e9
    (tmp_path / "benchmarks.json").write_text("[")
    assert load_results(tmp_path) == []
    with serving(Scripted(), store=str(tmp_path / "elsewhere")) as served:
        found = served.client.get("/machine").json()
    assert (found["benchmarks"], found["calibration"]) == ([], None)


def installed(profile: HardwareProfile) -> str:
    assert profile.llama
    return profile.llama.version
