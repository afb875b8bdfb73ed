"""How the replicas of one model are doing, as operators and the watchdog see it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.messages import Described
from edgeinfer.errors import EdgeinferError
from edgeinfer.inference.client import EngineExit, EngineState
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import EngineBuild


class FleetHealth:
    """Implements EngineHealth for all replicas of a model together.

    Attributes:
        stopped: the ingress has closed its client.
        resumed: answers that another replica has continued.
    """

    last_error: EdgeinferError | None = None
    last_exit: str | None = None
    exits: Sequence[EngineExit] = ()
    load_progress: float | None = None
    load_seconds = 0.0
    pid: int | None = None
    confinement: str | None = None
    earlier_stats = EngineStats()
    healthy = True  # what is wrong with a replica is for Ray Serve to see

    def __init__(self, fleet: Fleet, name: str, described: Described) -> None:
        self._fleet = fleet
        self._name = name
        self._described = described
        self.stopped = False
        self.resumed = 0

    @property
    def state(self) -> EngineState:
        if self.stopped:
            return "stopped"
        states = {model.state for model in self._fleet.models(self._name)}
        return "ready" if "ready" in states else "restarting"

    @property
    def stats(self) -> EngineStats:
        """The sums over the replicas; a step takes as long as on the slowest."""
        found = [model.stats for model in self._fleet.models(self._name)]
        sums = {name: sum(getattr(stats, name) for stats in found) for name in asdict(EngineStats())}
        return EngineStats(**{**sums, "step_ms": max((stats.step_ms for stats in found), default=0.0)})

    @property
    def restarts(self) -> int:
        return sum(model.restarts for model in self._fleet.models(self._name))

    @property
    def build(self) -> EngineBuild | None:
        return self._described.build
