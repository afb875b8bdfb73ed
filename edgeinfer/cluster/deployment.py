"""Deploys a fleet: the declaration of its applications, and its way to a running cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgeinfer.cluster.labels import CLASS

FLEET = "edgeinfer"
"""Name of the ingress's application, with which the names of the others begin."""

PLAN = b"edgeinfer-fleet"
"""Key of the plan in the head's storage."""


class FleetPlan(msgspec.Struct, frozen=True):
    """What is to run.

    Attributes:
        classes: the replicas of each hardware class.
        settings: those of all nodes; they take precedence over a node's own.
    """

    classes: dict[str, int]
    settings: dict[str, Any] = {}


def config(plan: FleetPlan) -> dict[str, Any]:
    """The plan as a configuration of Ray Serve, as `serve deploy` reads it."""
    groups = [
        {
            "name": f"{FLEET}-{name}",
            "route_prefix": None,
            "import_path": "edgeinfer.cluster.application:replicas",
            "args": {"hardware_class": name, "replicas": count, "settings": plan.settings},
        }
        for name, count in plan.classes.items()
    ]
    front = {
        "name": FLEET,
        "route_prefix": None,
        "import_path": "edgeinfer.cluster.application:ingress",
        "args": {"fleet": FLEET, "settings": plan.settings},
    }
    return {"proxy_location": "Disabled", "applications": [*groups, front]}


def deploy(plan: FleetPlan) -> None:
    """Deploy the plan on the cluster that this process is connected to; returns before it is ready."""
    from ray import serve
    from ray.experimental.internal_kv import _internal_kv_put

    from edgeinfer.cluster import application

    serve.start(proxy_location="Disabled")
    builders = {"ingress": application.ingress, "replicas": application.replicas}
    _internal_kv_put(PLAN, msgspec.json.encode(plan), overwrite=True)
    targets = [
        serve.RunTarget(
            target=builders[app["import_path"].rpartition(":")[2]](app["args"]),
            name=app["name"],
            route_prefix=None,
        )
        for app in config(plan)["applications"]
    ]
    serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def deployed() -> FleetPlan:
    """What is deployed on the cluster that this process is connected to."""
    from ray.experimental.internal_kv import _internal_kv_get

    return msgspec.json.decode(_internal_kv_get(PLAN) or b'{"classes": {}}', type=FleetPlan)


def classes(nodes: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Nodes that are alive, by their hardware class; `nodes` are those of `ray.nodes()`."""
    counts: dict[str, int] = {}
    for node in nodes:
        name = (node.get("Labels") or {}).get(CLASS)
        if node.get("Alive") and name:
            counts[name] = counts.get(name, 0) + 1
    return counts
