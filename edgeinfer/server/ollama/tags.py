"""GET /api/version, /api/status, /api/tags and /api/ps."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer import __version__
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.ollama import times
from edgeinfer.server.ollama.model_facts import (
    StoredFile,
    capabilities,
    context_length,
    details,
    stored_files,
)
from edgeinfer.server.ollama.names import tagged_name
from edgeinfer.server.ollama.types import (
    OllamaModel,
    OllamaStatus,
    OllamaTags,
    OllamaVersion,
    RunningModel,
    RunningModels,
)
from edgeinfer.server.state import AppState, state_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.store.file_facts import FileFacts

OLLAMA_VERSION = "0.33.0"
"""The version of Ollama whose API this is. Clients read it to know what they may use."""

UNKNOWN_FILE = StoredFile(0, "0" * 64, times.from_timestamp(0))


async def version() -> Response:
    """The version of Ollama whose API this is, and our own."""
    return json_response(OllamaVersion(OLLAMA_VERSION, __version__))


async def status() -> Response:
    """There are no models in a cloud."""
    return json_response(OllamaStatus())


async def tags(request: Request) -> Response:
    """The models that can be asked for, loaded or not."""
    state = state_of(request)
    models = state.registry.all()
    facts = await state.model_files.all_facts(models)
    files = await stored_files(state, models)
    rows = [_model(model, facts.get(model), files.get(model, UNKNOWN_FILE)) for model in models]
    return json_response(OllamaTags(rows))


async def ps(request: Request) -> Response:
    """The models that are loaded, with the memory that they take and the time at which they will be unloaded."""
    state = state_of(request)
    models = [model for model in state.loader.loaded if model.info]
    facts = await state.model_files.all_facts(models)
    files = await stored_files(state, models)
    rows = [_running(state, model, facts.get(model), files.get(model, UNKNOWN_FILE)) for model in models]
    return json_response(RunningModels(sorted(rows, key=lambda row: row.expires_at, reverse=True)))


def _model(model: ServedModel, facts: FileFacts | None, file: StoredFile) -> OllamaModel:
    name = tagged_name(model)
    return OllamaModel(
        name,
        name,
        file.modified_at,
        file.size,
        file.digest,
        details(model, facts),
        capabilities(model, facts),
    )


def _running(state: AppState, model: ServedModel, facts: FileFacts | None, file: StoredFile) -> RunningModel:
    name, memory = tagged_name(model), model.plan.memory if model.plan else None
    return RunningModel(
        name,
        name,
        memory.model if memory else 0,
        file.digest,
        details(model, facts),
        times.after(state.loader.expiry.seconds_left(model)),
        memory.gpu if memory else 0,
        context_length(model, facts),
    )
