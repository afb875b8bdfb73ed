"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import ModelNotFound
from edgeinfer.server.openai.types import Model, ModelMeta, Models, json
from edgeinfer.server.state import DEFAULT_MODEL, Daemon, the_daemon


def router() -> APIRouter:
    found = APIRouter(tags=["models"])
    found.add_api_route("/v1/models", models, methods=["GET"])
    found.add_api_route("/v1/models/{id:path}", model, methods=["GET"])
    return found


async def models(request: Request) -> Response:
    """The models that can be asked; also while they load."""
    return json(Models([_described(the_daemon(request))]))


async def model(request: Request, id: str) -> Response:
    """One of them."""
    daemon = the_daemon(request)
    if id not in (daemon.model_name, DEFAULT_MODEL):
        message = f"no such model: {id[:100]!r}; this daemon serves {daemon.model_name!r}"
        raise ModelNotFound(message, param="model")
    return json(_described(daemon))


def _described(daemon: Daemon) -> Model:
    found = Model(daemon.model_name, daemon.created)
    if info := daemon.client.info:
        found.meta = ModelMeta(
            info.vocab_size, info.ctx, info.n_ctx_train, info.n_embd, info.n_params, info.size
        )
    return found
