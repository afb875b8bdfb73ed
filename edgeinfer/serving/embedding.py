"""One embedding request: a vector for each input."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import ModelInfo, Span
from edgeinfer.serving.answer_size import check_vectors_size
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.inputs import Input, check_inputs, input_prompt
from edgeinfer.serving.task import check_task

FRAME_TOKENS = 8
"""Tokens that are reserved for those around a text, and for one that is cut in another way than it was read."""

MAX_CHARS_PER_TOKEN = 64
"""Characters that are tokenized for each token that there is room for."""


class EmbeddingCall(msgspec.Struct, frozen=True, kw_only=True):
    """An embedding request.

    Attributes:
        inputs: texts in which no control token is recognised, or tokens.
        dimensions: the length to cut the vectors to; None leaves them as they are.
        value_bytes: what a value takes in the answer.
        truncate: cut texts that are longer than the context.
    """

    inputs: Sequence[Input]
    dimensions: int | None = None
    value_bytes: int = 4
    truncate: bool = False


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
    texts = await _cut_texts(model, caller, info, call.inputs) if call.truncate else call.inputs
    check_inputs(texts, info, "input")
    # Documents are data: a control token written out in one is text like any other.
    inputs = [input_prompt(content, trusted=False) for content in texts]
    embeddings = await model.embed(caller, inputs, info=info)
    vectors = embeddings.vectors
    if call.dimensions is not None:
        vectors = [cut_vector(vector, call.dimensions) for vector in vectors]
    return EmbeddingReply(info, vectors, embeddings.tokens)


async def _cut_texts(
    model: ModelHandle, caller: Hashable, info: ModelInfo, inputs: Sequence[Input]
) -> Sequence[Input]:
    """The inputs, each text as far as the context has room for it."""
    if all(
        not isinstance(text, str) or len(text.encode("utf-8", "surrogatepass")) <= _room(info)
        for text in inputs
    ):
        return inputs  # a token has a byte at least
    async with model.short_jobs.take(caller):
        return [
            await _cut_text(model, caller, info, text) if isinstance(text, str) else text for text in inputs
        ]


async def _cut_text(model: ModelHandle, caller: Hashable, info: ModelInfo, text: str) -> str:
    room = _room(info)
    text = text[: room * MAX_CHARS_PER_TOKEN]
    tokens = await model.tokenize(caller, [Span(text, trusted=False)], info=info)
    if len(tokens.ids) <= room:
        return text
    return (await model.detokenize(caller, tokens.ids[:room], info=info)).rstrip("\ufffd")


def _room(info: ModelInfo) -> int:
    return max(1, info.ctx - FRAME_TOKENS)


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
