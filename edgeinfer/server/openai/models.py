"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.family import family_of
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.openai.model_card import ModelCard, ModelList, model_card
from edgeinfer.server.state import AppState, state_of


async def models(request: Request) -> Response:
    """The models that can be asked for, loaded or not.

    The form is that of the family whose protocol the request speaks, see `ModelsForm`.
    """
    state = state_of(request)
    if form := family_of(request.scope).models_form:
        return form.all(request, state.registry.all())
    return json_response(ModelList(await model_cards(state)))


async def model_cards(state: AppState) -> list[ModelCard]:
    """The entries of all models that can be asked for."""
    served = state.registry.all()
    facts = await state.model_files.all_facts(served)
    aliases = state.registry.aliases()
    return [model_card(model, facts.get(model), aliases.get(model, [])) for model in served]


async def model(request: Request, id: str) -> Response:
    """One of them."""
    state = state_of(request)
    served = state.registry.get(id)
    if form := family_of(request.scope).models_form:
        return form.one(request, served)
    facts = await state.model_files.facts(served)
    return json_response(model_card(served, facts, state.registry.aliases().get(served, [])))
