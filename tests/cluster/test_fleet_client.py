"""What the ingress says of a model that nodes have loaded."""

from __future__ import annotations

from edgeinfer.cluster.answer import LossPolicy
from edgeinfer.cluster.client import FleetClient
from edgeinfer.cluster.messages import Described
from edgeinfer.inference.fake import SCRIPTED_MODEL
from tests.support.replica_groups import ScriptedGroup, fleet_of


async def test_a_model_is_known_by_the_name_that_it_has_on_its_nodes() -> None:
    """The fleet was told to serve it with a quantization, which is no part of that name."""
    groups = ScriptedGroup("a"), ScriptedGroup("b")
    fleet = await fleet_of(*groups)
    described = Described(1, SCRIPTED_MODEL, "format", groups[0].source)
    client = FleetClient(fleet, "scripted:Q4_K_M", described, LossPolicy())
    info = await client.ready()
    assert ("scripted:Q4_K_M", 2 * SCRIPTED_MODEL.parallel) == (info.name, info.parallel)
    assert "ready" == client.health.state
