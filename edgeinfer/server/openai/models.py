"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.openai.types import ModelCard, ModelList, ModelMeta, ModelStatus
from edgeinfer.server.state import registry_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.sampling import recommended_sampling


async def models(request: Request) -> Response:
    """The models that can be asked for, loaded or not."""
    return json_response(ModelList([_card(model) for model in registry_of(request).all()]))


async def model(request: Request, id: str) -> Response:
    """One of them; all of them if the path only ends with a slash."""
    return json_response(_card(registry_of(request).get(id))) if id else await models(request)


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
