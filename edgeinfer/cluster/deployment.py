"""Deploys a fleet: the declaration of its applications, and its way to a running cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgeinfer import __version__
from edgeinfer.cluster.canary import MARK, Canary
from edgeinfer.errors import ServiceFailed

if TYPE_CHECKING:
    from ray.serve import Application

FLEET = "edgeinfer"
"""Name of the ingress's application, with which the names of the others begin."""

INGRESS = "Ingress"
"""Name of the deployment in that application."""

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
        canary: a version of the model that is tried.
    """

    classes: list[str] = []
    replicas: Literal["all", "auto"] | int = "all"
    settings: dict[str, Any] = {}
    version: str = __version__
    canary: Canary | None = None


def config(plan: FleetPlan) -> dict[str, Any]:
    """The plan as a configuration of Ray Serve, as `serve deploy` reads it."""
    groups = [_replicas(plan, name) for name in plan.classes]
    canaries = [_canary(plan, name, plan.canary) for name in plan.classes] if plan.canary else []
    others = {name: value for name, value in plan.settings.items() if name != "model"}
    changing = {"model": plan.settings.get("model"), "canary": plan.canary}
    front = {
        "name": FLEET,
        "route_prefix": None,
        "import_path": "edgeinfer.cluster.application:ingress",
        "args": {"fleet": FLEET, "settings": others, "version": plan.version},
        # Ray Serve hands this to an ingress that runs, and does not replace it.
        "deployments": [
            {
                "name": INGRESS,
                "user_config": {
                    name: msgspec.to_builtins(value) for name, value in changing.items() if value
                },
            }
        ],
    }
    return {"proxy_location": "Disabled", "applications": [*groups, *canaries, front]}


def _replicas(plan: FleetPlan, name: str) -> dict[str, Any]:
    return {
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


def _canary(plan: FleetPlan, name: str, canary: Canary) -> dict[str, Any]:
    app = _replicas(plan, name)
    mine = {
        "settings": {**plan.settings, "model": canary.model},
        "replicas": canary.replicas,
        "canary": True,
    }
    return {**app, "name": app["name"] + MARK, "args": {**app["args"], **mine}}


def deploy(plan: FleetPlan) -> None:
    """Deploy what is new in the plan, and end what is no longer in it; does not wait for either.

    That is on the cluster that this process is connected to. What is deployed already keeps running: Ray Serve would
    replace it.
    """
    from ray import serve
    from ray.experimental.internal_kv import _internal_kv_put

    serve.start(proxy_location="Disabled")
    before, now = (config(p)["applications"] for p in (deployed(), plan))
    targets = [
        serve.RunTarget(target=_built(app), name=app["name"], route_prefix=None)
        for app in now
        if app not in before
    ]
    if targets:
        serve.run_many(
            targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
        )
    _internal_kv_put(PLAN, msgspec.json.encode(plan), overwrite=True)
    for gone in {app["name"] for app in before} - {app["name"] for app in now}:
        serve.delete(gone, _blocking=False)


def _built(app: dict[str, Any]) -> Application:
    from edgeinfer.cluster import application

    if app["name"] != FLEET:
        return application.replicas(app["args"])
    (deployment,) = app["deployments"]
    return application.ingress_with(app["args"], deployment["user_config"])


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
