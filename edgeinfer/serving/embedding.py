"""One embedding request: a vector for each input."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import ModelInfo
from edgeinfer.serving.answer_size import check_vectors_size
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.inputs import Input, check_inputs, input_prompt
from edgeinfer.serving.task import check_task


class EmbeddingCall(msgspec.Struct, frozen=True, kw_only=True):
    """An embedding request.

    Attributes:
        inputs: texts in which no control token is recognised, or tokens.
        dimensions: the length to cut the vectors to; None leaves them as they are.
        value_bytes: what a value takes in the answer.
    """

    inputs: Sequence[Input]
    dimensions: int | None = None
    value_bytes: int = 4


class EmbeddingReply(NamedTuple):
    """The vectors of an embedding request.

    Attributes:
        vectors: little-endian float32, of length 1.
        tokens: of all inputs together.
    """

    info: ModelInfo
    vectors: list[bytes]
    tokens: int


async def embed(model: ModelHandle, caller: Hashable, call: EmbeddingCall) -> EmbeddingReply:
    """Embed the inputs.

    Raises:
        InvalidRequest: an input is invalid, or the model has fewer dimensions or is a reranker.
        EdgeinferError: the model cannot be loaded, or is too busy.
    """
    info = await model.ready()
    check_task(info, "embed")
    if call.dimensions is not None and call.dimensions > info.n_embd:
        raise InvalidRequest(f"{info.name} has {info.n_embd} dimensions", param="dimensions")
    check_vectors_size(len(call.inputs), (call.dimensions or info.n_embd) * call.value_bytes)
    check_inputs(call.inputs, info, "input")
    # Documents are data: a control token written out in one is text like any other.
    inputs = [input_prompt(content, trusted=False) for content in call.inputs]
    embeddings = await model.embed(caller, inputs, info=info)
    vectors = embeddings.vectors
    if call.dimensions is not None:
        vectors = [cut_vector(vector, call.dimensions) for vector in vectors]
    return EmbeddingReply(info, vectors, embeddings.tokens)


def cut_vector(vector: bytes, dimensions: int) -> bytes:
    """The first `dimensions` of a vector, at length 1 again; a vector of zeros stays one."""
    values = to_floats(vector)[:dimensions]
    length = math.sqrt(math.fsum(x * x for x in values))
    return _to_bytes(array.array("f", (x / length for x in values)) if length else values)


def to_floats(vector: bytes) -> array.array[float]:
    """The values of a vector."""
    values = array.array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _to_bytes(values: array.array[float]) -> bytes:
    copy = values[:]
    if sys.byteorder == "big":
        copy.byteswap()
    return copy.tobytes()
