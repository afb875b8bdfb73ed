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
from edgeinfer.server.daemon import Daemon, the_daemon
from edgeinfer.server.envelope import RETRY_AFTER
from edgeinfer.server.wire import json


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
    return json({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 while the model answers, else 503 with the reason."""
    supervisor = the_daemon(request).supervisor
    if supervisor.info is not None:
        return json({"status": "ready", "model": supervisor.info.name})
    found = json({"status": supervisor.state, "reason": _reason(the_daemon(request))}, 503)
    found.headers["retry-after"] = str(RETRY_AFTER[503])
    return found


def _reason(daemon: Daemon) -> str | None:
    error = daemon.supervisor.load_error
    return error.message if error else daemon.supervisor.last_exit


async def status(request: Request) -> Response:
    """Everything `edgeinfer status` shows."""
    return json(describe(the_daemon(request)))


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(the_daemon(request).metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})


def describe(daemon: Daemon) -> dict[str, Any]:
    supervisor, choices = daemon.supervisor, daemon.choices
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime": round(daemon.uptime(), 3),
        "state": supervisor.state,
        "restarts": supervisor.restarts,
        "last_exit": supervisor.last_exit,
        "reason": None if supervisor.info else _reason(daemon),
        "worker_pid": supervisor.worker_pid,
        "model": _model(daemon),
        "stats": supervisor.stats,
        "plan": {"config": choices.config, "reasons": list(choices.reasons)},
        "settings": _settings(daemon),
    }


def _model(daemon: Daemon) -> dict[str, Any] | None:
    """The model's facts, less what is long: its templates by name alone, of its control tokens the number."""
    info = daemon.supervisor.info
    if info is None:
        return None
    found = msgspec.structs.asdict(info)
    found["chat_templates"] = sorted(info.chat_templates)
    found["control_tokens"] = len(info.control_tokens)
    return found


def _settings(daemon: Daemon) -> dict[str, Any]:
    values, sources = msgspec.structs.asdict(daemon.settings), daemon.choices.sources
    return {name: {"value": value, "source": sources.get(name, "default")} for name, value in values.items()}
