"""GET /health, /ready, /status and /metrics: for those who watch."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer import __version__
from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.inference.output import EngineStats
from edgeinfer.server.openai.errors import RETRY_AFTER
from edgeinfer.server.openai.types import Health, Readiness, json
from edgeinfer.server.state import Daemon, the_daemon


def router() -> APIRouter:
    found = APIRouter(tags=["watch"])
    for path, handler in (("/health", health), ("/ready", ready)):
        found.add_api_route(path, handler, methods=["GET"])
        found.add_api_route(path, handler, methods=["HEAD"], include_in_schema=False)
    found.add_api_route("/status", status, methods=["GET"])
    found.add_api_route("/metrics", metrics, methods=["GET"])
    return found


async def health() -> Response:
    """200 while the daemon lives, whatever the model does."""
    return json(Health())


async def ready(request: Request) -> Response:
    """200 while the model answers, else 503 with the reason."""
    daemon = the_daemon(request)
    if daemon.client.info is not None and not daemon.stopping:
        return json(Readiness("ready", model=daemon.client.info.name))
    state = "stopped" if daemon.stopping else daemon.client.health.state
    found = json(Readiness(state, reason=_reason(daemon)), 503)
    found.headers["retry-after"] = str(RETRY_AFTER[503])
    return found


def _reason(daemon: Daemon) -> str | None:
    error = daemon.client.health.last_error
    return error.message if error else daemon.client.health.last_exit


async def status(request: Request) -> Response:
    """Everything `edgeinfer status` shows."""
    return json(describe(the_daemon(request)))


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(the_daemon(request).metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})


def describe(daemon: Daemon) -> dict[str, Any]:
    client, choices = daemon.client, daemon.choices
    health = client.health
    config, changes = choices.config, list[str]()
    if isinstance(client, LlamaClient):
        config, changes = client.config, client.config_changes
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime": round(daemon.uptime(), 3),
        "state": health.state,
        "restarts": health.restarts,
        "resumed": health.resumed,
        "last_exit": health.last_exit,
        "reason": None if client.info else _reason(daemon),
        "worker_pid": health.pid,
        "model": _model(daemon),
        "stats": _stats(daemon),
        "plan": {"config": config, "reasons": list(choices.reasons)},
        "fallback": changes,
        "reload": daemon.reload,
        "settings": _settings(daemon),
    }


def _model(daemon: Daemon) -> dict[str, Any] | None:
    """The model's facts, less what is long: its templates by name alone, of its control tokens the number."""
    info = daemon.client.info
    if info is None:
        return None
    found = msgspec.structs.asdict(info)
    found["chat_templates"] = sorted(info.chat_templates)
    found["control_tokens"] = len(info.control_tokens)
    return found


def _stats(daemon: Daemon) -> EngineStats:
    """The engine's, where those that wait before they reach it wait as well."""
    stats = daemon.client.health.stats
    return msgspec.structs.replace(stats, waiting=stats.waiting + daemon.turns.waiting)


def _settings(daemon: Daemon) -> dict[str, Any]:
    values, sources = msgspec.structs.asdict(daemon.settings), daemon.choices.sources
    return {name: {"value": value, "source": sources.get(name, "default")} for name, value in values.items()}
