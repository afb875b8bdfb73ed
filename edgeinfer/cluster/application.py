"""The fleet as applications of Ray Serve: one for the ingress, and one for each hardware class.

A configuration file of Ray Serve names `ingress` and `replicas` by their import paths.
"""

from __future__ import annotations

from typing import Any

import msgspec
from ray import serve
from ray.serve.config import RequestRouterConfig

from edgeinfer.cluster.ingress import Ingress, IngressArgs
from edgeinfer.cluster.labels import CLASS, INGRESS
from edgeinfer.cluster.replica import EngineReplica, ReplicaArgs
from edgeinfer.cluster.serve_group import REPLICA

MAX_ONGOING = 1000
"""Requests that Ray Serve lets through to a replica. The replica's own queue, which is fair, refuses sooner."""

SHUTDOWN = 60.0
"""Seconds that a replica has to end its answers, beyond which Ray Serve kills it."""


def ingress(args: dict[str, Any]) -> serve.Application:
    """The application that listens; `args` are those of `IngressArgs`."""
    msgspec.convert(args, IngressArgs)
    deployment = serve.deployment(
        Ingress,
        name="Ingress",
        num_replicas=1,
        max_replicas_per_node=1,
        ray_actor_options={"num_cpus": 0, "label_selector": {INGRESS: "yes"}},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=SHUTDOWN,
    )
    return deployment.bind(args)


def replicas(args: dict[str, Any]) -> serve.Application:
    """The application with the replicas of one hardware class; `args` are those of `ReplicaArgs`, and `replicas`."""
    args = dict(args)
    count = args.pop("replicas", 1)
    mine = msgspec.convert(args, ReplicaArgs)
    deployment = serve.deployment(
        EngineReplica,
        name=REPLICA,
        num_replicas=count,
        max_replicas_per_node=1,
        max_ongoing_requests=MAX_ONGOING,
        ray_actor_options={"num_cpus": 0, "label_selector": {CLASS: mine.hardware_class}},
        health_check_period_s=5,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=SHUTDOWN,
        request_router_config=RequestRouterConfig(
            request_router_class="edgeinfer.cluster.router:FleetRouter"
        ),
    )
    return deployment.bind(args)
