"""POST /v1/embeddings."""

from __future__ import annotations

import base64

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest
from edgeinfer.server.openai.types import Embedding, EmbeddingList, EmbeddingUsage
from edgeinfer.server.state import registry_of
from edgeinfer.serving.embedding import EmbeddingCall, EmbeddingReply, embed, to_floats


async def embeddings(request: Request) -> Response:
    """One vector for each input, of length 1."""
    body = await read(request, EmbeddingsRequest)
    reply = await cancel_on_disconnect(request.receive, _embed(request, body))
    data = [Embedding(i, _encode(vector, body)) for i, vector in enumerate(reply.vectors)]
    return json_response(EmbeddingList(data, reply.info.name, EmbeddingUsage(reply.tokens, reply.tokens)))


async def _embed(request: Request, body: EmbeddingsRequest) -> EmbeddingReply:
    call = EmbeddingCall(inputs=body.input, dimensions=body.dimensions)
    return await embed(registry_of(request).get(body.model), principal_of(request.scope).caller(), call)


def _encode(vector: bytes, body: EmbeddingsRequest) -> str | list[float]:
    return (
        base64.b64encode(vector).decode() if body.encoding_format == "base64" else to_floats(vector).tolist()
    )
