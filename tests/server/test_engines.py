"""Engines of one daemon know of each other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.plan import Plan
from edgeinfer.plan.memory_estimate import MemoryEstimate
from edgeinfer.server.engines import LocalEngines
from edgeinfer.serving.engines import Planner, RunningEngine
from edgeinfer.settings import Settings


class Noted(LocalEngines):
    """Notes beside which engines a model is planned."""

    beside: list[str]

    def planner(self, name: str | None, settings: Settings) -> Planner:
        def planned(staying: Sequence[RunningEngine], leaving: Sequence[RunningEngine]) -> Plan:
            assert not leaving
            self.beside = [engine.plan.config.name for engine in staying]
            return plan("again")

        return planned


def plan(name: str) -> Plan:
    return Plan(LlamaConfig(model="fake", name=name), [], memory=MemoryEstimate(1), fits=True)


async def test_model_is_planned_again_beside_the_others(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash, what the other loaded models hold is not free; those that are unloaded hold nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(model="fake")
    engines = Noted(settings)
    clients = [engines.open(plan(name), settings) for name in ("a", "b", "c")]
    assert isinstance(clients[0], LlamaClient)
    config = engines._replanned("a", settings)
    assert config
    assert config.name == "again"
    assert engines.beside == ["b", "c"]
    await clients[1].aclose()
    engines._replanned("a", settings)
    assert engines.beside == ["c"]
