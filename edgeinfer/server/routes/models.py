"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import ModelNotFound
from edgeinfer.server.daemon import DEFAULT_MODEL, Daemon, the_daemon
from edgeinfer.server.wire import json


def router() -> APIRouter:
    found = APIRouter(tags=["models"])
    found.add_api_route("/v1/models", models, methods=["GET"])
    found.add_api_route("/v1/models/{id:path}", model, methods=["GET"])
    return found


async def models(request: Request) -> Response:
    """The models that can be asked; also while they load."""
    return json({"object": "list", "data": [_described(the_daemon(request))]})


async def model(request: Request, id: str) -> Response:
    """One of them."""
    daemon = the_daemon(request)
    if id not in (daemon.model_name, DEFAULT_MODEL):
        message = f"no such model: {id[:100]!r}; this daemon serves {daemon.model_name!r}"
        raise ModelNotFound(message, param="model")
    return json(_described(daemon))


def _described(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": daemon.model_name,
        "object": "model",
        "created": daemon.created,
        "owned_by": "edgeinfer",
    }
    if info := daemon.supervisor.info:
        found["meta"] = {
            "n_vocab": info.vocab_size,
            "n_ctx": info.ctx,
            "n_ctx_train": info.n_ctx_train,
            "n_embd": info.n_embd,
            "n_params": info.n_params,
            "size": info.size,
        }
    return found
