"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.family import family_of
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.openai.types import ModelCard, ModelList, ModelMeta, ModelStatus
from edgeinfer.server.state import registry_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.sampling import recommended_sampling


async def models(request: Request) -> Response:
    """The models that can be asked for, loaded or not.

    The form is that of the family whose protocol the request speaks, see `ModelsForm`.
    """
    served = registry_of(request).all()
    if form := family_of(request.scope).models_form:
        return form.all(request, served)
    return json_response(ModelList([_card(model) for model in served]))


async def model(request: Request, id: str) -> Response:
    """One of them; all of them if the path only ends with a slash."""
    if not id:
        return await models(request)
    served = registry_of(request).get(id)
    if form := family_of(request.scope).models_form:
        return form.one(request, served)
    return json_response(_card(served))


def _card(model: ServedModel) -> ModelCard:
    card = ModelCard(model.name, model.created, status=ModelStatus(model.state))
    if info := model.info:
        card.meta = ModelMeta(
            info.vocab_size,
            info.ctx,
            info.n_ctx_train,
            info.n_embd,
            info.n_params,
            info.size,
            recommended_sampling(info, model.recommended_sampling(thinks=True)),
            model.template_limits,
        )
    return card
