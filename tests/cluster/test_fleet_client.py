"""What the ingress says of a model that nodes have loaded."""

from __future__ import annotations

from edgeinfer.cluster.answer import LossPolicy
from edgeinfer.cluster.client import FleetClient
from edgeinfer.cluster.messages import Described
from edgeinfer.inference.fake import SCRIPTED_MODEL
from tests.support.replica_groups import ScriptedGroup, fleet_of


async def test_a_model_is_that_of_all_nodes_which_have_it() -> None:
    """By the name that they list it under, with the answers that all of them compute at once."""
    groups = ScriptedGroup("a"), ScriptedGroup("b")
    fleet = await fleet_of(*groups)
    client = FleetClient(fleet, Described(1, SCRIPTED_MODEL, "format", groups[0].source), LossPolicy())
    info = await client.ready()
    assert ("scripted", 2 * SCRIPTED_MODEL.parallel) == (info.name, info.parallel)
    assert "ready" == client.health.state
