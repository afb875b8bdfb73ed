"""Deploys a fleet: the declaration of its applications, and its way to a running cluster."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgeinfer import __version__
from edgeinfer.errors import ServiceFailed

FLEET = "edgeinfer"
"""Name of the ingress's application, with which the names of the others begin."""

NOTHING = b'{"version": ""}'

TIMEOUT = 10.0
"""Seconds that the head has to answer."""

PLAN = b"edgeinfer-fleet"
"""Key of the plan in the head's storage."""


class FleetPlan(msgspec.Struct, frozen=True):
    """What is to run.

    Attributes:
        classes: the hardware classes.
        replicas: of each of them, see `ReplicasPerNode`.
        version: of this program; another one replaces what runs.
        settings: those of all nodes; they take precedence over a node's own.
    """

    classes: list[str] = []
    replicas: Literal["all", "auto"] | int = "all"
    settings: dict[str, Any] = {}
    version: str = __version__


def config(plan: FleetPlan) -> dict[str, Any]:
    """The plan as a configuration of Ray Serve, as `serve deploy` reads it."""
    groups = [
        {
            "name": f"{FLEET}-{name}",
            "route_prefix": None,
            "import_path": "edgeinfer.cluster.application:replicas",
            "args": {
                "hardware_class": name,
                "replicas": plan.replicas,
                "settings": plan.settings,
                "version": plan.version,
            },
        }
        for name in plan.classes
    ]
    front = {
        "name": FLEET,
        "route_prefix": None,
        "import_path": "edgeinfer.cluster.application:ingress",
        "args": {"fleet": FLEET, "settings": plan.settings, "version": plan.version},
    }
    return {"proxy_location": "Disabled", "applications": [*groups, front]}


def deploy(plan: FleetPlan) -> None:
    """Deploy what is new in the plan, on the cluster that this process is connected to; does not wait for it.

    What is deployed already keeps running: Ray Serve would replace it.
    """
    from ray import serve
    from ray.experimental.internal_kv import _internal_kv_put

    from edgeinfer.cluster import application

    serve.start(proxy_location="Disabled")
    builders = {"ingress": application.ingress, "replicas": application.replicas}
    before = config(deployed())["applications"]
    targets = [
        serve.RunTarget(
            target=builders[app["import_path"].rpartition(":")[2]](app["args"]),
            name=app["name"],
            route_prefix=None,
        )
        for app in config(plan)["applications"]
        if app not in before
    ]
    if targets:
        serve.run_many(
            targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
        )
    _internal_kv_put(PLAN, msgspec.json.encode(plan), overwrite=True)


def deployed_at(address: str) -> FleetPlan:
    """What is deployed on the cluster whose head is at `address`, for a machine that is no node yet.

    Raises:
        ServiceFailed: the head does not answer, or not to this token.
    """
    from ray._raylet import GcsClient
    from ray.exceptions import RayError

    try:
        found = GcsClient(address=address).internal_kv_get(PLAN, None, timeout=TIMEOUT)
    except (RayError, RuntimeError, TimeoutError) as e:
        raise ServiceFailed(f"the head at {address} does not answer: {e}") from e
    return msgspec.json.decode(found or NOTHING, type=FleetPlan)


def deployed() -> FleetPlan:
    """What is deployed on the cluster that this process is connected to; an empty plan if nothing is."""
    from ray.experimental.internal_kv import _internal_kv_get

    return msgspec.json.decode(_internal_kv_get(PLAN) or NOTHING, type=FleetPlan)
