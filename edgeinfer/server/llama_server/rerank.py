"""POST /rerank, /reranking, and both below /v1: as in llama-server, and as clients of Jina, Cohere and TEI expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import EdgeinferError
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read_as
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.llama_server.schemas.rerank import RerankRequest
from edgeinfer.server.state import registry_of
from edgeinfer.serving.reranking import RerankCall, RerankReply
from edgeinfer.serving.reranking import rerank as rank_documents


class RerankUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class DocumentText(Struct):
    text: str


class RankedResult(Struct):
    """A document's score. More is better; each model has a scale of its own."""

    index: int
    relevance_score: float
    document: DocumentText | UnsetType = UNSET


class RerankResponse(Struct):
    """The most relevant document is first."""

    model: str
    usage: RerankUsage
    results: Sequence[RankedResult]
    object: Literal["list"] = "list"


class RankedText(Struct):
    """A text's score, in TEI's form."""

    index: int
    score: float
    text: str | UnsetType = UNSET


async def rerank(request: Request) -> Response:
    """How relevant each document is for a query, the most relevant first. With `texts`, in TEI's form."""
    body, call = await read_as(request, RerankRequest, lambda body: (body, body.call()))
    try:
        reply = await cancel_on_disconnect(request.receive, _ranked(request, body.model, call))
    except EdgeinferError as e:
        if body.texts is not None and e.param:
            e.param = e.param.replace("documents", "texts")
        raise
    return json_response(_response(reply, body, call) if body.texts is None else _texts(reply, body, call))


async def _ranked(request: Request, model: str | None, call: RerankCall) -> RerankReply:
    return await rank_documents(registry_of(request).get(model), principal_of(request.scope).caller(), call)


def _response(reply: RerankReply, body: RerankRequest, call: RerankCall) -> RerankResponse:
    def document(index: int) -> DocumentText | UnsetType:
        return DocumentText(call.documents[index]) if body.return_documents else UNSET

    results = [RankedResult(one.index, one.score, document(one.index)) for one in reply.ranked]
    return RerankResponse(reply.info.name, RerankUsage(reply.tokens, reply.tokens), results)


def _texts(reply: RerankReply, body: RerankRequest, call: RerankCall) -> list[RankedText]:
    return [
        RankedText(one.index, one.score, call.documents[one.index] if body.return_text else UNSET)
        for one in reply.ranked
    ]
