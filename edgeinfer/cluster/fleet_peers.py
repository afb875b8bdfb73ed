"""The nodes of a fleet among the other boards, for the page and for `GET /peers`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.messages import ReplicaModel, ReplicaStatus
from edgeinfer.server.peers import Peer, Peers
from edgeinfer.settings import Settings


class FleetPeers(Peers):
    """Puts the nodes before the boards that the settings name."""

    def __init__(self, settings: Settings, fleet: Fleet, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises SettingsError."""
        super().__init__(settings)
        self._fleet = fleet
        self._clock = clock
        self._written: dict[str, tuple[int, float]] = {}

    async def get(self) -> Sequence[Peer]:
        return [*map(self._node, self._fleet.replicas), *await super().get()]

    def _node(self, replica: ReplicaStatus) -> Peer:
        models = replica.models
        shown = next(
            (m for m in models if m.state == "ready"), models[0] if models else ReplicaModel("", "unloaded")
        )
        return Peer(
            "",
            "answers",
            version=replica.version,
            state=shown.state,
            model=shown.name or None,
            running=sum(m.stats.running for m in models),
            waiting=sum(m.stats.waiting for m in models),
            tokens_per_second=self._speed(replica),
            restarts=sum(m.restarts for m in models),
            node=replica.source.node,
        )

    def _speed(self, replica: ReplicaStatus) -> float | None:
        """Tokens per second since the last look; None at the first one."""
        now, id = self._clock(), replica.source.replica
        total = sum(m.stats.completion_tokens_total for m in replica.models)
        before, self._written[id] = self._written.get(id), (total, now)
        return round(max(0, total - before[0]) / (now - before[1]), 2) if before and now > before[1] else None
