"""POST /models/load and /models/unload, POST and DELETE /models, as in llama-server's router."""

from __future__ import annotations

import time

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest, ModelNotFound
from edgeinfer.server import audit
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.auth.rights import check_admin
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.llama_server.model_events import download_progress
from edgeinfer.server.llama_server.schemas.models import ModelRequest
from edgeinfer.server.openai.model_card import ModelCard, ModelList, ModelStatus
from edgeinfer.server.openai.models import model_cards
from edgeinfer.server.removal import remove_model
from edgeinfer.server.state import AppState, state_of
from edgeinfer.serving.downloads import Download


class Success(Struct):
    success: bool


async def list_models(request: Request) -> Response:
    """The models of GET /v1/models, and those that are being downloaded."""
    state = state_of(request)
    cards = await model_cards(state)
    names = {card.id for card in cards}
    cards += [_downloading(running) for running in state.downloads.running() if running.name not in names]
    return json_response(ModelList(cards))


async def load(request: Request) -> Response:
    """Load a model, and respond once it is ready."""
    name = await _name(request, "load or unload models")
    model = state_of(request).registry.get(name)
    await cancel_on_disconnect(request.receive, model.ready())
    _record(request, "loaded", model.name)
    return json_response(Success(True))


async def unload(request: Request) -> Response:
    """Unload a model once its running answers have finished, or cancel its download. The next request loads it again."""
    name = await _name(request, "load or unload models")
    state = state_of(request)
    if _cancel_download(state, name):
        _record(request, "download cancelled", name)
        return json_response(Success(True))
    model = state.registry.get(name)
    await cancel_on_disconnect(request.receive, state.loader.unload(model, state.settings.drain_timeout))
    _record(request, "unloaded", model.name)
    return json_response(Success(True))


async def download(request: Request) -> Response:
    """Begin to download a model, and respond at once: GET /models/sse has the progress and the end."""
    name = await _name(request, "download models")
    state = state_of(request)
    if _is_served(state, name):
        raise InvalidRequest(f"model {name[:100]!r} already exists", param="model")
    state.downloads.start(name, keep=True)
    _record(request, "download", name)
    return json_response(Success(True))


async def delete(request: Request, model: str = "") -> Response:
    """Delete an installed model; one that is loaded finishes its answers and is unloaded first."""
    check_admin(principal_of(request.scope), "delete models")
    if not model:
        raise InvalidRequest(
            "model must be a non-empty string", param="model", hint="DELETE /models?model=NAME"
        )
    state = state_of(request)
    if _cancel_download(state, model):
        return json_response(Success(True))
    _record(request, "deleted", await remove_model(state, model))
    return json_response(Success(True))


def _downloading(running: Download) -> ModelCard:
    status = ModelStatus("downloading", "downloading", [], progress=download_progress(running))
    return ModelCard(running.name, int(time.time()), status, [])


async def _name(request: Request, action: str) -> str:
    """The name in the body. Raises Forbidden if keys are required and this one is not an admin key."""
    check_admin(principal_of(request.scope), action)
    return (await read(request, ModelRequest)).model


def _record(request: Request, action: str, model: str) -> None:
    audit.record(action, model=model, by=principal_of(request.scope).label)


def _is_served(state: AppState, name: str) -> bool:
    try:
        state.registry.get(name)
    except ModelNotFound:
        return False
    return True


def _cancel_download(state: AppState, name: str) -> bool:
    """Cancel the download of this model; -> False if there is none."""
    try:
        running = state.downloads.get(name)
    except (InvalidRequest, ModelNotFound):  # nothing of this name can be downloaded
        return False
    if running is None:
        return False
    running.cancel()
    return True
