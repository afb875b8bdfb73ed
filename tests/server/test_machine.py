"""GET /machine says what this machine is, and what its memory is used for."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from edgeinfer.hardware import detect
from edgeinfer.hardware.describe import describe
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
