"""Which hardware class gets a request: the one with its conversation, with its model, with room."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.cluster.affinity import MAX_GAP
from edgeinfer.cluster.answer import FleetAnswer, LossPolicy
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.messages import ReplicaModel, ReplicaStatus, encode
from edgeinfer.cluster.routing import RoutingKey
from edgeinfer.errors import DoesNotFit
from edgeinfer.inference.sampling import SamplingParams
from tests.support.replica_groups import ScriptedGroup, fleet_of

NEW = RoutingKey("r", "scripted")


def key(session: str) -> RoutingKey:
    return RoutingKey("r", "scripted", session)


class SizedGroup(ScriptedGroup):
    """A class with several replicas, which have the model loaded or only installed."""

    def __init__(
        self, hardware_class: str, replicas: int = 1, parallel: int = 4, state: str = "ready"
    ) -> None:
        super().__init__(hardware_class)
        self.replicas, self.parallel, self.state = replicas, parallel, state

    async def statuses(self, waiting: int = 0) -> Sequence[bytes]:
        models = [ReplicaModel("scripted", self.state, 4096, self.parallel)] if self.state else []
        return [encode(ReplicaStatus(self.source, "1", models, ["scripted"]))] * self.replicas


def order(fleet: Fleet, key: RoutingKey) -> str:
    return "".join(group.hardware_class for group in fleet.groups(key))


async def ask(fleet: Fleet, key: RoutingKey) -> None:
    request = ResumableGeneration([1, 2, 3], SamplingParams(), 1)
    answer = FleetAnswer(fleet, request, key, "", LossPolicy("resume", 5))
    async for _ in answer.deltas():
        pass


async def test_a_conversation_goes_to_the_class_that_has_its_beginning() -> None:
    """Even if another one is faster and has nothing to do."""
    fleet = await fleet_of(SizedGroup("a", parallel=2), SizedGroup("b", parallel=16))
    fleet.outstanding["b"] = 16
    await ask(fleet, key("ada"))
    fleet.outstanding["b"], fleet.outstanding["a"] = 0, 1
    assert "ab" == order(fleet, key("ada"))
    assert "ba" == order(fleet, key("bob"))


async def test_a_long_queue_sends_it_to_another_class() -> None:
    """Counted for each replica: ten machines may have ten times the requests."""
    fleet = await fleet_of(SizedGroup("a", replicas=10), SizedGroup("b"))
    await ask(fleet, key("ada"))
    fleet.outstanding["a"] = 10 * MAX_GAP
    assert "ab" == order(fleet, key("ada"))
    fleet.outstanding["a"] += 1
    assert "ba" == order(fleet, key("ada"))


async def test_a_class_that_refuses_is_not_remembered() -> None:
    """The next turn of the conversation goes to the one that has answered."""
    small, large = SizedGroup("a"), SizedGroup("b")
    small.error = DoesNotFit("too large for node-a")
    fleet = await fleet_of(small, large)
    for _ in range(2):
        await ask(fleet, key("ada"))
    assert (1, 2) == (len(small.calls), len(large.calls))


async def test_a_model_goes_where_it_is_loaded_and_next_where_it_is_installed() -> None:
    """Whatever else was computed there."""
    installed, loaded = SizedGroup("a", state=""), SizedGroup("b")
    fleet = await fleet_of(ScriptedGroup("c"), installed, loaded)
    other = RoutingKey("r", "another")
    assert "cab" == order(fleet, other)
    fleet.affinity.record(NEW, "a")
    fleet.outstanding["c"] = fleet.outstanding["b"] = 3
    assert "cba" == order(fleet, key("ada"))


async def test_a_class_that_has_unloaded_the_model_has_its_conversations_no_more() -> None:
    here, there = SizedGroup("a"), SizedGroup("b")
    fleet = await fleet_of(here, there)
    await ask(fleet, key("ada"))
    assert "ab" == order(fleet, key("ada"))
    here.state = ""
    await fleet.update()
    assert "ba" == order(fleet, key("ada"))
