"""POST /v1/embeddings."""

from __future__ import annotations

import array
import base64
import math
import sys

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Embeddings
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import until_gone
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.openai import types as wire
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest
from edgeinfer.server.openai.schemas.inputs import check_inputs
from edgeinfer.server.openai.types import Embedding, EmbeddingUsage
from edgeinfer.server.state import registry_of
from edgeinfer.serving.model import as_prompt


async def embeddings(request: Request) -> Response:
    """One vector for each input, of length 1."""
    asked = await read(request, EmbeddingsRequest)
    name, found = await until_gone(request.receive, _embed(request, asked))
    data = [Embedding(i, _encoded(vector, asked)) for i, vector in enumerate(found.vectors)]
    usage = EmbeddingUsage(found.tokens, found.tokens)
    return json_response(wire.Embeddings(data, name, usage))


async def _embed(request: Request, asked: EmbeddingsRequest) -> tuple[str, Embeddings]:
    model = registry_of(request).get(asked.model)
    info = await model.ready()
    if asked.dimensions is not None and asked.dimensions > info.n_embd:
        raise InvalidRequest(f"{info.name} has {info.n_embd} dimensions", param="dimensions")
    check_inputs(asked.input, info, "input")
    # Documents are data: a control token written out in one is text like any other.
    inputs = [as_prompt(given, trusted=False) for given in asked.input]
    return info.name, await model.embed(principal_of(request.scope).id, inputs)


def _encoded(vector: bytes, asked: EmbeddingsRequest) -> str | list[float]:
    if asked.dimensions is not None:
        vector = cut(vector, asked.dimensions)
    if asked.encoding_format == "base64":
        return base64.b64encode(vector).decode()
    return _floats(vector).tolist()


def cut(vector: bytes, dimensions: int) -> bytes:
    """The first `dimensions` of a vector, at length 1 again (a vector of zeros stays one)."""
    found = _floats(vector)[:dimensions]
    length = math.sqrt(math.fsum(x * x for x in found))
    return _bytes(array.array("f", (x / length for x in found)) if length else found)


def _floats(vector: bytes) -> array.array[float]:
    found = array.array("f", vector)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _bytes(vector: array.array[float]) -> bytes:
    found = vector[:]
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()
