"""The fleet as a configuration of Ray Serve."""

from __future__ import annotations

from edgeinfer.cluster.canary import Canary
from edgeinfer.cluster.deployment import FleetPlan, config

PLAN = FleetPlan(["pi", "card"], settings={"model": "new"}, canary=Canary("newer", 5, replicas=2))


def test_each_class_has_an_application_for_the_canary_beside_its_own() -> None:
    apps = {app["name"]: app["args"] for app in config(PLAN)["applications"]}
    assert [
        "edgeinfer-pi",
        "edgeinfer-card",
        "edgeinfer-pi.canary",
        "edgeinfer-card.canary",
        "edgeinfer",
    ] == [*apps]
    own, canary = apps["edgeinfer-card"], apps["edgeinfer-card.canary"]
    assert ({"model": "new"}, "all") == (own["settings"], own["replicas"])
    assert ({"model": "newer"}, 2, True) == (canary["settings"], canary["replicas"], canary["canary"])
    assert own["hardware_class"] == canary["hardware_class"] == "card"


def test_an_ingress_need_not_be_replaced_for_another_model_or_weight() -> None:
    """Ray Serve replaces what has other arguments; the rest it hands to what runs."""
    before, after = (config(plan)["applications"][-1] for plan in (FleetPlan(["pi"]), PLAN))
    assert before["args"] == after["args"]
    (deployment,) = after["deployments"]
    assert {"model": "new", "canary": {"model": "newer", "weight": 5, "replicas": 2}} == deployment[
        "user_config"
    ]
