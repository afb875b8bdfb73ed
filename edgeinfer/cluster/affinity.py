"""Remembers which replicas, or classes of them, have computed which beginnings of prompts and so have them cached."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from edgeinfer.cluster.routing import RoutingKey

MAX_ENTRIES = 65536
"""Blocks and conversations that are remembered; the oldest are forgotten, as they are in the caches."""

MAX_HOLDERS = 4
"""Replicas that are remembered for each, the latest first."""

MAX_GAP = 4
"""Requests by which a queue may be longer than the shortest one: waiting costs more than computing a prompt again."""

R = TypeVar("R", bound=Hashable)


class PrefixAffinity(Generic[R]):
    """Chooses the replica that has the most of a prompt, unless its queue is long."""

    def __init__(self, size: int = MAX_ENTRIES) -> None:
        self._size = size
        self._holders: OrderedDict[tuple[str, bytes], tuple[R, ...]] = OrderedDict()
        self._last: OrderedDict[R, int] = OrderedDict()
        self._count = 0

    def record(self, key: RoutingKey, replica: R) -> None:
        """The replica computes the request with this key."""
        self._count += 1
        self._last[replica] = self._count
        self._last.move_to_end(replica)
        while len(self._last) > self._size:
            self._last.popitem(last=False)
        for entry in _entries(key):
            others = (other for other in self._holders.get(entry, ()) if other != replica)
            self._holders[entry] = (replica, *others)[:MAX_HOLDERS]
            self._holders.move_to_end(entry)
        while len(self._holders) > self._size:
            self._holders.popitem(last=False)

    def choose(self, key: RoutingKey, queues: Mapping[R, float]) -> R | None:
        """The replica to prefer, of those in `queues`, which has the requests that each of them computes; None if any will do."""
        if not queues:
            return None
        limit = min(queues.values()) + MAX_GAP
        for entry in _entries(key):
            holders = [holder for holder in self._holders.get(entry, ()) if holder in queues]
            if holders:
                shortest = min(holders, key=queues.__getitem__)
                if queues[shortest] <= limit:
                    return shortest
        return None

    def least_busy(self, queues: Mapping[R, float], n: int = 2) -> list[R]:
        """Up to `n` with the fewest requests, those first that got one the longest ago: new prompts spread over all caches."""
        found = heapq.nsmallest(n, queues, key=lambda replica: (queues[replica], self._last.get(replica, 0)))
        return [replica for replica in found if queues[replica] == queues[found[0]]]


def _entries(key: RoutingKey) -> list[tuple[str, bytes]]:
    """What the key stands for, that which says the most first: the conversation, then its beginnings, the longest first."""
    session = [(f"{key.model} {key.session}", b"")] if key.session else []
    return session + [(key.model, block) for block in reversed(key.blocks)]
