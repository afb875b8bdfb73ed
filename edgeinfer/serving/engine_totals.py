"""Counters of all the engines that a model has had: each of them begins at zero."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.inference.client import EngineExit
from edgeinfer.inference.output import EngineStats
from edgeinfer.serving.engines import RunningEngine

MAX_EXITS = 20
"""Exits that are remembered."""


class EngineTotals:
    """Adds what ended engines counted to what the running one does."""

    def __init__(self) -> None:
        self._stats = EngineStats()
        self._restarts = self._resumed = 0
        self._exits: Sequence[EngineExit] = ()

    def add(self, engine: RunningEngine) -> None:
        """Count an engine that ends."""
        self._stats = self.stats(engine)
        self._restarts, self._resumed = self.restarts(engine), self.resumed(engine)
        self._exits = self.exits(engine)

    def stats(self, engine: RunningEngine | None) -> EngineStats:
        """The running engine's figures, with the counters of all."""
        if engine is None:
            return EngineStats().with_totals_of(self._stats)
        health = engine.client.health
        return health.stats.with_totals_of(health.earlier_stats).with_totals_of(self._stats)

    def restarts(self, engine: RunningEngine | None) -> int:
        return self._restarts + (engine.client.health.restarts if engine else 0)

    def resumed(self, engine: RunningEngine | None) -> int:
        return self._resumed + (engine.client.health.resumed if engine else 0)

    def exits(self, engine: RunningEngine | None) -> Sequence[EngineExit]:
        """The last exits of all engines, the oldest first."""
        return (*self._exits, *(engine.client.health.exits if engine else ()))[-MAX_EXITS:]
