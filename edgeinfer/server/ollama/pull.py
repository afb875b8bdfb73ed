"""POST /api/pull and DELETE /api/delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import ModelNotFound
from edgeinfer.server import audit
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.auth.rights import check_admin
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.respond import respond
from edgeinfer.server.ollama.schemas.models import DeleteRequest, PullRequest
from edgeinfer.server.ollama.types import PullStep
from edgeinfer.server.removal import remove_model
from edgeinfer.server.state import AppState, state_of
from edgeinfer.serving.downloads import PullProgress
from edgeinfer.store.lookup import recorded_models
from edgeinfer.store.store import Store

SUCCESS = PullStep("success")


class PullBuilder:
    """Renders the steps of a download."""

    def __init__(self, steps: AsyncGenerator[PullProgress, None]) -> None:
        self._steps = steps

    async def build(self) -> PullStep:
        """Waits for the end."""
        async with aclosing(self._steps) as steps:
            async for _ in steps:
                pass
        return SUCCESS

    async def stream(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._steps) as steps:
            async for step in steps:
                yield msgspec.json.encode(_rendered(step)) + b"\n"
        yield msgspec.json.encode(SUCCESS) + b"\n"


async def pull(request: Request) -> Response:
    """Download a model by a name of the catalogue, or from the hub: hf.co/OWNER/REPO:QUANT."""
    principal, state = principal_of(request.scope), state_of(request)
    check_admin(principal, "download models")
    body = await read(request, PullRequest)

    async def start() -> PullBuilder:
        if await asyncio.to_thread(_needs_no_download, state, body.model):
            return PullBuilder(_nothing())
        state.downloads.check_name(body.model)
        audit.record("download", model=body.model, by=principal.label)
        return PullBuilder(state.downloads.follow(body.model))

    return await respond(request, start, stream=body.stream)


async def delete(request: Request) -> Response:
    """Delete an installed model. One that is loaded finishes its answers and is unloaded first."""
    principal, state = principal_of(request.scope), state_of(request)
    check_admin(principal, "delete models")
    body = await read(request, DeleteRequest)
    removed = await cancel_on_disconnect(request.receive, remove_model(state, body.model))
    audit.record("deleted", model=removed, by=principal.label)
    return Response()


def _needs_no_download(state: AppState, name: str) -> bool:
    """True for a model that is served from a file which no download made: the bundled one, for example."""
    if not name.strip():
        return False
    try:
        model = state.registry.get(name)
    except ModelNotFound:
        return False
    return not recorded_models(model.settings.model or model.name, Store.of(state.settings))


async def _nothing() -> AsyncGenerator[PullProgress, None]:
    return
    yield


def _rendered(step: PullProgress) -> PullStep:
    digest = f"sha256:{step.sha256}" if step.sha256 else UNSET
    total = UNSET if step.total is None else step.total
    completed = UNSET if step.completed is None else step.completed
    return PullStep(step.status, digest, total, completed)
