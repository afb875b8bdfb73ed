"""POST /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
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

FLOAT_BYTES, BASE64_BYTES = 22, 6
"""Bytes of a value in the answer."""


async def embeddings(request: Request) -> Response:
    """One vector for each input, of length 1."""
    body = await read(request, EmbeddingsRequest)
    reply = await cancel_on_disconnect(request.receive, _embed(request, body))
    data = [await _encoded(index, vector, body) for index, vector in enumerate(reply.vectors)]
    return json_response(EmbeddingList(data, reply.info.name, EmbeddingUsage(reply.tokens, reply.tokens)))


async def _embed(request: Request, body: EmbeddingsRequest) -> EmbeddingReply:
    value_bytes = BASE64_BYTES if body.encoding_format == "base64" else FLOAT_BYTES
    call = EmbeddingCall(inputs=body.input, dimensions=body.dimensions, value_bytes=value_bytes)
    return await embed(registry_of(request).get(body.model), principal_of(request.scope).caller(), call)


async def _encoded(index: int, vector: bytes, body: EmbeddingsRequest) -> Any:
    """One vector as JSON: the numbers of thousands would take several times as much memory as their text."""
    await asyncio.sleep(0)  # others get their turn
    if body.encoding_format == "base64":
        return Embedding(index, base64.b64encode(vector).decode())
    return msgspec.Raw(msgspec.json.encode(Embedding(index, to_floats(vector).tolist())))
