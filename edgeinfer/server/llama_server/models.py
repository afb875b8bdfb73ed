"""POST /models/load and /models/unload, as in llama-server's router."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import Forbidden
from edgeinfer.server import audit
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.llama_server.schemas.models import ModelRequest
from edgeinfer.server.state import state_of
from edgeinfer.serving.model import ServedModel


class Success(Struct):
    success: bool


async def load(request: Request) -> Response:
    """Load a model, and respond once it is ready."""
    model = await _model(request)
    await cancel_on_disconnect(request.receive, model.ready())
    audit.record("loaded", model=model.name, by=principal_of(request.scope).label)
    return json_response(Success(True))


async def unload(request: Request) -> Response:
    """Unload a model once its running answers have finished. The next request loads it again."""
    model = await _model(request)
    state = state_of(request)
    await cancel_on_disconnect(request.receive, state.loader.unload(model, state.settings.drain_timeout))
    audit.record("unloaded", model=model.name, by=principal_of(request.scope).label)
    return json_response(Success(True))


async def _model(request: Request) -> ServedModel:
    """The model that the request names. Raises Forbidden if keys are required and this one is not an admin key."""
    key = principal_of(request.scope).key
    if key is not None and not key.admin:
        raise Forbidden(
            f"the key {key.name!r} may not load or unload models",
            hint="use one made with: edgeinfer key add NAME --admin",
        )
    body = await read(request, ModelRequest)
    return state_of(request).registry.get(body.model)
