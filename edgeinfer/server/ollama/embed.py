"""POST /api/embed and /api/embeddings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.ollama.keep_alive import keep
from edgeinfer.server.ollama.schemas.models import EmbeddingRequest, EmbedRequest
from edgeinfer.server.ollama.times import nanoseconds
from edgeinfer.server.ollama.types import OllamaEmbeddingResponse, OllamaEmbedResponse
from edgeinfer.server.state import registry_of
from edgeinfer.serving import embedding
from edgeinfer.serving.embedding import EmbeddingCall, EmbeddingReply, to_floats

FLOAT_BYTES = 22
"""Bytes of a value in the answer."""


async def embed(request: Request) -> Response:
    """One vector for each input, of length 1; without an input, load the model."""
    body = await read(request, EmbedRequest)
    began = time.monotonic()
    reply, loaded = await cancel_on_disconnect(
        request.receive, _embedded(request, body, body.texts, body.dimensions, truncate=body.truncate)
    )
    response = OllamaEmbedResponse(body.model, [await _encoded(vector) for vector in reply.vectors])
    if body.texts:
        response.total_duration = nanoseconds(time.monotonic() - began)
        response.load_duration = nanoseconds(loaded - began)
        response.prompt_eval_count = reply.tokens
    return json_response(response)


async def embeddings(request: Request) -> Response:
    """The vector of one text, in the older form."""
    body = await read(request, EmbeddingRequest)
    texts = [body.prompt] if body.prompt else []
    reply, _ = await cancel_on_disconnect(request.receive, _embedded(request, body, texts, truncate=True))
    vector = await _encoded(reply.vectors[0]) if reply.vectors else []
    return json_response(OllamaEmbeddingResponse(vector))


async def _embedded(
    request: Request,
    body: EmbedRequest | EmbeddingRequest,
    texts: Sequence[str],
    dimensions: int | None = None,
    *,
    truncate: bool,
) -> tuple[EmbeddingReply, float]:
    """The reply, and when the model was loaded."""
    model = registry_of(request).get(body.model)
    info = await model.ready()
    loaded = time.monotonic()
    keep(request, model, body.keep_alive)
    if not texts:
        return EmbeddingReply(info, [], 0), loaded
    call = EmbeddingCall(
        inputs=texts,
        dimensions=min(dimensions, info.n_embd) if dimensions else None,
        value_bytes=FLOAT_BYTES,
        truncate=truncate,
    )
    return await embedding.embed(model, principal_of(request.scope).caller(), call), loaded


async def _encoded(vector: bytes) -> Any:
    """One vector as JSON: the numbers of thousands would take several times as much memory as their text."""
    await asyncio.sleep(0)  # others get their turn
    return msgspec.Raw(msgspec.json.encode(to_floats(vector).tolist()))
