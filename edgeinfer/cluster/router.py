"""Chooses the replica of a hardware class that gets a request; Ray Serve runs it where the request comes from.

Ray Serve pickles this module by value, with its globals, so what cannot be pickled is elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from edgeinfer.cluster.affinity import MAX_GAP, PrefixAffinity
from edgeinfer.cluster.routing import LOADED_MODELS, RoutingKey, decode_key

AVOIDED = 30.0
"""Seconds that a request does not go back to a replica that has had it: longer than Ray takes to see a node's end."""

MAX_REMEMBERED = 4096
"""Requests whose replicas are remembered."""


class FleetRouter(RequestRouter):
    """Sends a request to the replica that has its prompt in the cache, else to the one with the fewest running requests.

    It does not go back to one that it has left, and it makes no replica load a model that another one has. Ray Serve
    asks the replicas of a rank for the length of their queues and takes the shortest; it goes on to the next rank if all
    are full.
    """

    def initialize_state(self, **_: Any) -> None:
        self._affinity: PrefixAffinity[ReplicaID] = PrefixAffinity()
        self._sent: Counter[ReplicaID] = Counter()
        self._routed: OrderedDict[str, dict[ReplicaID, float]] = OrderedDict()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # or Serve would try again without a pause
        key = routing_key(pending_request)
        replicas = {r.replica_id: r for r in self._not_tried(candidate_replicas, key)}
        queues = self._with_model({id: self._queue(id) for id in replicas}, replicas, key)
        best = self._affinity.choose(key, queues) if key else None
        first = [best] if best else self._affinity.least_busy(queues)
        return [[replicas.pop(id) for id in first], list(replicas.values())]

    def on_request_routed(
        self,
        pending_request: PendingRequest,
        replica_id: ReplicaID,
        result: Any,  # noqa: ARG002  # the base class's
    ) -> None:
        if key := routing_key(pending_request):
            self._affinity.record(key, replica_id)
            self._routed.setdefault(key.request, {})[replica_id] = time.monotonic()
            while len(self._routed) > MAX_REMEMBERED:
                self._routed.popitem(last=False)

    def on_send_request(self, replica_id: ReplicaID) -> None:
        super().on_send_request(replica_id)
        self._sent[replica_id] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        super().on_request_completed(replica_id, internal_request_id)
        self._sent[replica_id] -= 1
        if self._sent[replica_id] <= 0:
            del self._sent[replica_id]

    def _queue(self, replica: ReplicaID) -> int:
        """Requests that the replica computes: those from here, or what it has told, which has those of other ingresses.

        What it tells is behind when many are sent at once.
        """
        return max(self._sent[replica], self.replica_queue_len_cache.get(replica) or 0)

    def _with_model(
        self, queues: dict[ReplicaID, int], replicas: dict[ReplicaID, RunningReplica], key: RoutingKey | None
    ) -> dict[ReplicaID, int]:
        """The queues of the replicas that have loaded the model, unless they are long; else all of them."""
        if not key:
            return queues
        loaded = {
            id: queue
            for id, queue in queues.items()
            if key.model in replicas[id].routing_stats.get(LOADED_MODELS, ())
        }
        is_long = bool(loaded) and min(loaded.values()) > min(queues.values()) + MAX_GAP
        return loaded if loaded and not is_long else queues

    def _not_tried(self, replicas: list[RunningReplica], key: RoutingKey | None) -> list[RunningReplica]:
        tried = self._routed.get(key.request, {}) if key else {}
        since = time.monotonic() - AVOIDED
        return [replica for replica in replicas if tried.get(replica.replica_id, since) <= since]


def routing_key(request: PendingRequest) -> RoutingKey | None:
    """The key that the ingress has sent with a call; None for a call without one, such as `status`."""
    if len(request.args) < 2:
        return None
    return decode_key(request.args[1])
