"""The fleet as applications of Ray Serve: one for the ingress, and one for each hardware class.

A configuration file of Ray Serve names `ingress` and `replicas` by their import paths.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from edgeinfer.cluster.ingress import Ingress, IngressArgs
from edgeinfer.cluster.labels import CLASS, INGRESS, YES
from edgeinfer.cluster.replica import EngineReplica, ReplicaArgs
from edgeinfer.cluster.serve_group import REPLICA

MAX_ONGOING = 1000
"""Requests that Ray Serve lets through to a replica. The replica's own queue, which is fair, refuses sooner."""

LOGGING = {"log_level": "WARNING", "enable_access_log": False}
"""Of Ray Serve itself, which would log every look at a replica."""

MAX_REPLICAS = 10_000

IDLE = 300.0
"""Seconds that a replica stays which the requests no longer need."""

LOOK_BACK = 10.0
"""Seconds over which requests are averaged."""

SHUTDOWN = 60.0
"""Seconds that a replica has to end its answers, beyond which Ray Serve kills it."""


def ingress(args: dict[str, Any]) -> serve.Application:
    """The application that listens; `args` are those of `IngressArgs`."""
    return ingress_with(args, {})


def ingress_with(args: dict[str, Any], config: dict[str, Any]) -> serve.Application:
    """The same with an `IngressConfig`, for which Ray Serve's file has a place of its own, `user_config`."""
    msgspec.convert(args, IngressArgs)
    deployment = serve.deployment(
        Ingress,
        name="Ingress",  # as in `deployment`
        max_replicas_per_node=1,
        ray_actor_options={"num_cpus": 0, "label_selector": {INGRESS: YES}},
        autoscaling_config=_per_node(INGRESS, YES),
        health_check_period_s=5,
        logging_config=LOGGING,
        graceful_shutdown_timeout_s=SHUTDOWN,
        user_config=config,
    )
    return _versioned(deployment, args).bind(args)


def replicas(args: dict[str, Any]) -> serve.Application:
    """The application with the replicas of one hardware class; `args` are those of `ReplicaArgs`."""
    mine = msgspec.convert(args, ReplicaArgs)
    deployment = serve.deployment(
        EngineReplica,
        name=REPLICA,
        max_replicas_per_node=1,
        max_ongoing_requests=MAX_ONGOING,
        ray_actor_options={"num_cpus": 0, "label_selector": {CLASS: mine.hardware_class}},
        autoscaling_config=_per_node(CLASS, mine.hardware_class, mine.replicas, mine.target),
        health_check_period_s=5,
        logging_config=LOGGING,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=SHUTDOWN,
        request_router_config=RequestRouterConfig(request_router_class=mine.router),
    )
    return _versioned(deployment, args).bind(args)


def _versioned(deployment: serve.Deployment, args: dict[str, Any]) -> serve.Deployment:
    """The deployment, which Ray Serve takes for the one that runs if that has the same arguments.

    It would replace its replicas otherwise, even if only what `reconfigure` gets has changed.
    """
    deployment._version = hashlib.sha256(msgspec.json.encode(args, order="deterministic")).hexdigest()
    return deployment


def _per_node(
    label: str, value: str, replicas: Literal["all", "auto"] | int = "all", target: float = 2.0
) -> AutoscalingConfig:
    """The scaling of `ReplicasPerNode`."""
    policy = {"label": label, "value": value, "replicas": replicas, "target": target}
    return AutoscalingConfig(
        min_replicas=0,  # without `initial_replicas`, to which a new version would go back
        max_replicas=MAX_REPLICAS,
        upscale_delay_s=0,
        downscale_delay_s=IDLE if replicas == "auto" else 0,
        metrics_interval_s=1,
        look_back_period_s=LOOK_BACK,
        policy=AutoscalingPolicy(
            policy_function="edgeinfer.cluster.scaling:ReplicasPerNode", policy_kwargs=policy
        ),
    )
