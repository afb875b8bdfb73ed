"""What the ingress knows of the fleet: its groups of replicas, and what each of them has loaded."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from edgeinfer.cluster.affinity import PrefixAffinity
from edgeinfer.cluster.group import ReplicaGroup, ReplicaLost
from edgeinfer.cluster.messages import ReplicaModel, ReplicaStatus, to_status
from edgeinfer.cluster.routing import RoutingKey

POLL = 2.0
"""Seconds between two looks at the fleet, if it is small."""

MAX_STATUSES = 100
"""Statuses a second that an ingress reads; it looks at a large fleet less often."""

logger = logging.getLogger(__name__)


class Fleet:
    """The groups of replicas, with their last known statuses.

    Attributes:
        outstanding: requests of this ingress that each hardware class is computing.
        affinity: which class has computed which beginnings of prompts.
    """

    def __init__(
        self,
        discover: Callable[[], Awaitable[Sequence[ReplicaGroup]]],
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        """`discover` returns the groups that there are now, `waiting` the requests in this ingress's queues."""
        self.outstanding: Counter[str] = Counter()
        self.affinity: PrefixAffinity[str] = PrefixAffinity()
        self._discover = discover
        self._waiting = waiting
        self._groups: dict[str, ReplicaGroup] = {}
        self._statuses: dict[str, list[ReplicaStatus]] = {}
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Follow the fleet until cancelled."""
        while True:
            await self.update()
            await asyncio.sleep(max(POLL, len(self.replicas) / MAX_STATUSES))

    async def update(self) -> None:
        try:
            found = {group.hardware_class: group for group in await self._discover()}
        except Exception as e:  # of Ray's controller, which may be on its way to another node
            logger.warning("the controller of the fleet does not answer: %s", e)
        else:
            self._groups = {name: self._groups.get(name, group) for name, group in found.items()}
        await asyncio.gather(*map(self._update_group, list(self._groups.values())))
        async with self._changed:
            self._changed.notify_all()

    async def _update_group(self, group: ReplicaGroup) -> None:
        try:
            replies = await group.statuses(self._waiting())
        except ReplicaLost as e:  # what was known of them stays true, more or less
            logger.debug("no status of %s: %s", group.hardware_class, e)
        else:
            self._statuses[group.hardware_class] = [to_status.decode(reply) for reply in replies]

    async def changed(self, timeout: float) -> None:
        """Wait for the next look at the fleet, for at most `timeout` seconds."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except asyncio.TimeoutError:
                return

    @property
    def replicas(self) -> list[ReplicaStatus]:
        return [replica for name in self._groups for replica in self._statuses.get(name, [])]

    def size(self, group: ReplicaGroup) -> int:
        """Replicas of a group."""
        return len(self._statuses.get(group.hardware_class, []))

    def models(self, name: str) -> list[ReplicaModel]:
        """The status of a model on each replica that has loaded it."""
        return [model for replica in self.replicas for model in replica.models if model.name == name]

    def names(self) -> list[str]:
        """All models that some replica has or could load."""
        return list(dict.fromkeys(name for replica in self.replicas for name in replica.installed))

    def groups(self, key: RoutingKey) -> list[ReplicaGroup]:
        """Groups in the order in which a request should try them.

        The first one has computed the beginning of its prompt, unless more requests run there for each replica than
        elsewhere, see `PrefixAffinity`. Then come those that have loaded the model and have the least to do for each
        answer that they can compute at once, then those that have it installed, then the rest.
        """
        queues = {
            name: self.outstanding[name] / len(ready)
            for name in self._groups
            if (ready := self._ready(name, key.model))
        }
        best = self.affinity.choose(key, queues)
        return sorted(
            self._groups.values(),
            key=lambda group: (group.hardware_class != best, *self._rank(group.hardware_class, key.model)),
        )

    def _ready(self, name: str, model: str) -> list[ReplicaModel]:
        """The model on each replica of a class that has loaded it."""
        models = (m for replica in self._statuses.get(name, []) for m in replica.models)
        return [m for m in models if m.name == model and m.state == "ready"]

    def _rank(self, name: str, model: str) -> tuple[int, float]:
        capacity = sum(m.parallel for m in self._ready(name, model))
        if capacity:
            return 0, self.outstanding[name] / capacity
        return 1 if any(model in replica.installed for replica in self._statuses.get(name, [])) else 2, 0.0
