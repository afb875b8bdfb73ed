"""GET /peers of an ingress: its nodes, then the boards that the settings name."""

from __future__ import annotations

from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.fleet_peers import FleetPeers
from edgeinfer.cluster.messages import ReplicaModel, ReplicaStatus, Source
from edgeinfer.inference.output import EngineStats
from edgeinfer.settings import Settings


class Known(Fleet):
    """A fleet whose replicas are given."""

    def __init__(self, *found: ReplicaStatus) -> None:
        self.found = list(found)

    @property
    def replicas(self) -> list[ReplicaStatus]:
        return self.found


def status(node: str, written: int, state: str = "ready") -> ReplicaStatus:
    stats = EngineStats(running=2, waiting=1, completion_tokens_total=written)
    model = ReplicaModel("qwen3-0.6b", state, stats=stats, restarts=3)
    return ReplicaStatus(Source(f"replica of {node}", node, node, "board"), "0.1.0", [model])


async def test_the_nodes_of_a_fleet_come_before_the_other_boards() -> None:
    known = Known(status("pi-1", 0), status("pi-2", 0, "restarting"))
    found = await FleetPeers(Settings(peers="http://127.0.0.1:9"), known).get()
    assert ["pi-1", "pi-2", None] == [peer.node for peer in found]
    assert ["", "", "http://127.0.0.1:9"] == [peer.url for peer in found]
    first, second, _ = found
    assert ("ready", "qwen3-0.6b", 2, 1, 3) == (
        first.state,
        first.model,
        first.running,
        first.waiting,
        first.restarts,
    )
    assert "restarting" == second.state


async def test_the_speed_of_a_node_is_that_since_the_last_look() -> None:
    now = [100.0]
    known = Known(status("pi-1", 50))
    peers = FleetPeers(Settings(), known, lambda: now[0])
    assert None is (await peers.get())[0].tokens_per_second
    now[0], known.found = 110.0, [status("pi-1", 90)]
    assert 4.0 == (await peers.get())[0].tokens_per_second
    known.found = [ReplicaStatus(known.found[0].source, "0.1.0")]
    now[0] = 120.0
    (idle,) = await peers.get()
    assert ("unloaded", None, 0.0) == (idle.state, idle.model, idle.tokens_per_second)
