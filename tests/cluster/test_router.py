"""The order in which replicas of a class get a request, by Ray Serve's interface for routers."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec

from edgeinfer.cluster.affinity import MAX_GAP
from edgeinfer.cluster.routing import LOADED_MODELS, RoutingKey

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's own use of pydantic
    from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
    from ray.serve.request_router import PendingRequest

    from edgeinfer.cluster.router import FleetRouter

DEPLOYMENT = DeploymentID("EngineReplica", "edgeinfer-board")


class KnownReplica:
    """What a router sees of a replica: its id, and what it has told."""

    def __init__(self, name: str, *loaded: str) -> None:
        self.replica_id = ReplicaID(name, DEPLOYMENT)
        self.routing_stats = {LOADED_MODELS: list(loaded)} if loaded else {}


def request(session: str = "", model: str = "m", id: str = "r") -> PendingRequest:
    key = msgspec.msgpack.encode(RoutingKey(id, model, session))
    return PendingRequest([b"call", key], {}, RequestMetadata("", "", call_method="generate"))


class Routes:
    """A router of three replicas; `b` has another model too."""

    def __init__(self) -> None:
        self.router = FleetRouter(DEPLOYMENT, DeploymentHandleSource.REPLICA)
        self.router.initialize_state()
        self.replicas = {
            name: KnownReplica(name, "m", *extra) for name, extra in zip("abc", ["", "x", ""], strict=True)
        }

    async def order(self, request: PendingRequest) -> str:
        """The names in the order of the ranks; those of equal rank are not separated, ranks are."""
        found: Any = await self.router.choose_replicas(list(self.replicas.values()), request)
        return " ".join("".join(r.replica_id.unique_id for r in rank) for rank in found if rank)

    def send(self, name: str, request: PendingRequest, queue: int = 0) -> None:
        """The request is computed by a replica, which has a queue after that."""
        id = self.replicas[name].replica_id
        self.router.replica_queue_len_cache.update(id, queue)
        self.router.on_request_routed(request, id, None)


async def test_what_is_new_goes_to_one_of_the_two_least_busy() -> None:
    """Ray Serve asks both where their queues are not known: other ingresses send requests too."""
    routes = Routes()
    routes.send("a", request(), queue=3)
    assert "bc a" == await routes.order(request(id="r2"))


async def test_many_at_once_spread_evenly() -> None:
    """Replicas have not told yet how many they got."""
    routes = Routes()
    sent = []
    for n in range(9):
        rank, *_ = (await routes.order(request(id=str(n)))).split()
        sent.append(rank[0])
        routes.router.on_send_request(routes.replicas[rank[0]].replica_id)
        routes.send(rank[0], request(id=str(n)), queue=1)
    assert [3, 3, 3] == [sent.count(name) for name in "abc"]
    routes.router.on_request_completed(routes.replicas["c"].replica_id, "0")
    assert "c ab" == await routes.order(request(id="next"))


async def test_a_conversation_goes_back_and_elsewhere_if_the_queue_is_long() -> None:
    routes = Routes()
    routes.send("b", request("ada"), queue=MAX_GAP)
    assert "b ac" == await routes.order(request("ada", id="r2"))
    routes.send("b", request("bob", id="r3"), queue=MAX_GAP + 1)
    assert "ac b" == await routes.order(request("ada", id="r2"))


async def test_a_model_is_asked_where_it_is_loaded() -> None:
    """Unless many wait there, nobody else has to load it."""
    routes = Routes()
    assert "b ac" == await routes.order(request(model="x"))
    routes.send("b", request(), queue=MAX_GAP + 1)
    assert "ac b" == await routes.order(request(model="x", id="r2"))


async def test_a_request_does_not_go_back_to_a_replica_that_has_lost_it() -> None:
    routes = Routes()
    routes.send("b", request("ada"))
    assert "ac" == await routes.order(request("ada"))


async def test_a_call_without_a_key_goes_anywhere() -> None:
    """Such as that for the status."""
    status = PendingRequest([0], {}, RequestMetadata("", "", call_method="status"))
    assert "ab c" == await Routes().order(status)
