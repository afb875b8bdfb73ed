"""GET /health, /ready, /status and /metrics: for monitoring."""

from __future__ import annotations

import os
import time
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer import __version__
from edgeinfer.inference.client import EngineHealth
from edgeinfer.server.http.errors import RETRY_AFTER
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.state import AppState, state_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.sampling import recommended_sampling


class Health(Struct):
    status: Literal["ok"] = "ok"


class Readiness(Struct):
    """The default model, or the reason why it does not answer."""

    status: str
    model: str | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET


async def health() -> Response:
    """200 while the daemon runs, even if no model does."""
    return json_response(Health())


async def ready(request: Request) -> Response:
    """200 while the default model answers, or is unloaded because it was idle; otherwise 503 with the reason."""
    state = state_of(request)
    model = state.registry.default
    if not state.stopping and (model.info is not None or model.state == "unloaded"):
        return json_response(Readiness("ready" if model.info else "unloaded", model=model.name))
    response = json_response(Readiness(_status(state), reason=state.reason), 503)
    response.headers["retry-after"] = str(RETRY_AFTER[503])
    return response


def _status(state: AppState) -> str:
    """The default model's state; /ready has always called loading "starting"."""
    return "starting" if state.state == "loading" else state.state


async def status(request: Request) -> Response:
    """Everything `edgeinfer status` shows."""
    return json_response(describe(state_of(request)))


async def metrics(request: Request) -> Response:
    """The metrics in Prometheus' text format."""
    state = state_of(request)
    await state.machine_use.refresh()
    return Response(state.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})


def describe(state: AppState) -> dict[str, Any]:
    """The default model's state at the top level, and a row for each model that has been requested."""
    model = state.registry.default
    health = model.health
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime": round(state.uptime(), 3),
        "state": _status(state),
        "restarts": model.restarts,
        "resumed": model.resumed,
        "last_exit": health.last_exit if health else None,
        "reason": None if model.info else state.reason,
        "worker_pid": health.pid if health else None,
        "confinement": _confinement(state, health),
        "engine": health.build if health else None,
        "model": _facts(model),
        "stats": model.stats,
        "plan": {"config": _config(model), "reasons": model.plan.reasons if model.plan else []},
        "fallback": list(model.client.config_changes) if model.client else [],
        "models": [_row(state, other) for other in state.registry.served()],
        "reload": state.reload,
        "settings": _settings(state),
    }


def _confinement(state: AppState, health: EngineHealth | None) -> dict[str, str | None]:
    """The layers that hold for each kind of process; None for one that does not run yet."""
    services = state.services
    helpers = {"template": services.renderer.confinement, "grammar": services.compiler.confinement}
    return {
        "worker": health.confinement if health else None,
        **{name: str(layers) if layers else None for name, layers in helpers.items()},
    }


def _config(model: ServedModel) -> object:
    """The engine's configuration, which may differ from the plan if the model did not load with that."""
    return model.client.config if model.client else None


def _facts(model: ServedModel) -> dict[str, Any] | None:
    """The model's facts, with only the names of its templates and the number of its control tokens."""
    info = model.info
    if info is None:
        return None
    facts = msgspec.structs.asdict(info)
    facts["chat_templates"] = sorted(info.chat_templates)
    facts["control_tokens"] = len(info.control_tokens)
    facts["sampling"] = recommended_sampling(info, model.recommended_sampling(thinks=True))
    if without := model.recommended_sampling(thinks=False):
        facts["sampling_without_thinking"] = recommended_sampling(info, without)
    facts["template_limits"] = model.template_limits
    facts["system_prompt"] = model.plan.defaults.system_prompt if model.plan else True
    return facts


def _row(state: AppState, model: ServedModel) -> dict[str, Any]:
    health = model.health
    last_used = time.monotonic() - model.last_used if model.last_used else None
    return {
        "name": model.name,
        "state": model.state,
        "default": model is state.registry.default,
        "path": model.plan.config.model if model.plan else model.settings.model,
        "memory": model.plan.memory.needed if model.plan else None,
        "pid": health.pid if health else None,
        "restarts": model.restarts,
        "exits": model.exits,
        "load_progress": health.load_progress if health else None,
        "active": model.queue.running + model.queue.waiting,
        "callers_waiting": model.queue.callers_waiting,
        "stats": model.stats,
        "last_used": None if last_used is None else round(last_used, 1),
        "error": model.last_error.message if model.last_error else None,
    }


def _settings(state: AppState) -> dict[str, Any]:
    values = msgspec.structs.asdict(state.settings)
    return {
        name: {"value": value, "source": state.sources.get(name, "default")} for name, value in values.items()
    }
