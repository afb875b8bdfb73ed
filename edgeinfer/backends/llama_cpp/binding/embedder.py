"""Computes embeddings and relevance scores in a context of their own, where every token is an output.

An encoder attends in both directions, so it must read an input in one piece. A decoder reads an input in chunks,
because llama.cpp computes logits for every output even if only embeddings are wanted: 600 KB per token for a
vocabulary of 152k.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np

from edgeinfer.backends.llama_cpp.binding.batch import BatchView
from edgeinfer.backends.llama_cpp.binding.compute_threads import ComputeThreads
from edgeinfer.backends.llama_cpp.binding.context import FLASH_OFF, padded
from edgeinfer.backends.llama_cpp.binding.model import (
    POOLING_LAST,
    POOLING_MEAN,
    POOLING_NONE,
    POOLING_RANK,
    LlamaModel,
)
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch, Row
from edgeinfer.errors import DecodeFailed, ModelLoadFailed, context_exceeded, not_finite

DECODER_CHUNK = 128
"""Number of tokens that a decoder reads at once."""


class Embedder(ABC):
    """Computes one row for each input, a vector of length 1 unless a subclass says otherwise. `close` frees the context."""

    def __init__(self, model: LlamaModel, config: LlamaConfig, batch: int) -> None:
        self.max_tokens = min(config.ctx, model.n_ctx_train)
        self._width = model.n_embd
        self._batch = Batch(batch)
        self._view = BatchView(self._batch)
        self._pooling = model.pooling
        self._threads = ComputeThreads(config)
        self._held: list[int] = []  # tokens in the context that the next input may go on from
        self._context = self._open(model, config)
        if not self._context:
            raise ModelLoadFailed(f"cannot allocate an embedding context for {config.name}")

    def embed(self, inputs: list[list[int]], on_progress: Callable[[], None] = lambda: None) -> list[Row]:
        """Vectors in the order of the inputs; `on_progress` is called after each.

        Raises:
            ContextLengthExceeded: an input is longer than `max_tokens`.
            DecodeFailed: a vector could not be computed, or is not made of numbers.
        """
        self.check(inputs)
        vectors = []
        for tokens in inputs:
            vectors.append(_result(self.steps(tokens)))
            on_progress()
        return vectors

    def check(self, inputs: list[list[int]]) -> None:
        """Raises ContextLengthExceeded: an input is longer than `max_tokens`."""
        for i, tokens in enumerate(inputs):
            if len(tokens) > self.max_tokens:
                problem = f"input {i} has {len(tokens)} tokens"
                raise context_exceeded(self.max_tokens, problem, tokens=len(tokens), param="input")

    def steps(
        self, tokens: list[int], chunk: Callable[[], int] = lambda: DECODER_CHUNK
    ) -> Generator[None, None, Row]:
        """Compute one vector; other work may be done at each yield, but not with this embedder.

        `chunk`: tokens to compute until the next yield, where a model can stop at all.
        """
        return self._finished((yield from self._compute(tokens, chunk)))

    def forget(self) -> None:
        """Reuse nothing of the inputs so far."""
        self._held = []

    def close(self) -> None:
        if self._context:
            lib.llama_free(self._context)
            self._context = None

    def _open(self, model: LlamaModel, config: LlamaConfig) -> Any:
        params = lib.llama_context_default_params()
        params.n_ctx = padded(self.max_tokens)
        params.n_batch = params.n_ubatch = self._batch.capacity
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = config.threads
        params.embeddings = True
        params.no_perf = True
        self._configure(params)
        return lib.llama_init_from_model(model.pointer, params)

    def _finished(self, row: Row) -> Row:
        return normalised(row)

    @abstractmethod
    def _configure(self, params: Any) -> None: ...

    @abstractmethod
    def _compute(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]: ...

    def _run(self, start: int, tokens: list[int]) -> None:
        self._batch.clear()
        self._batch.add(0, start, tokens, output=True)
        self._batch.outputs[: self._batch.size] = 1
        threads = self._threads.look()
        lib.llama_set_n_threads(self._context, threads, threads)
        if code := lib.llama_decode(self._context, self._view.fill(self._batch)):
            raise DecodeFailed(f"the embedding could not be computed (code {code})")

    def _row(self, pointer: Any) -> Row:
        if not pointer:
            raise DecodeFailed("llama.cpp computed no embedding")
        return np.ctypeslib.as_array(pointer, (self._width,)).copy()


class EncoderEmbedder(Embedder):
    """Embeds with a model such as BERT, pooling as its file says, or by the mean if it says nothing."""

    def __init__(self, model: LlamaModel, config: LlamaConfig) -> None:
        super().__init__(model, config, padded(min(config.ctx, model.n_ctx_train)))

    def _configure(self, params: Any) -> None:
        params.pooling_type = self._pooling or POOLING_MEAN

    def _compute(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:  # noqa: ARG002
        yield
        if memory := lib.llama_get_memory(self._context):
            lib.llama_memory_clear(memory, True)
        self._run(0, tokens)
        return self._row(lib.llama_get_embeddings_seq(self._context, 0))


class DecoderEmbedder(Embedder):
    """Embeds with a generative model: the mean over the tokens, or the last one's vector if its file says so."""

    def __init__(self, model: LlamaModel, config: LlamaConfig) -> None:
        super().__init__(model, config, min(config.ctx, DECODER_CHUNK))

    def _configure(self, params: Any) -> None:
        if self._pooling is not None:  # else llama.cpp pools nothing, and warns if it is told so
            params.pooling_type = POOLING_NONE
        params.flash_attn_type = FLASH_OFF

    def _compute(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:
        total = np.zeros(self._width, np.float32)
        start = self._begin(tokens)
        while start < len(tokens):
            size = max(1, min(chunk(), self._batch.capacity, len(tokens) - start))
            self._run(start, tokens[start : start + size])
            total = self._pooled(total, size)
            start += size
            if start < len(tokens):
                yield
        return total

    def _begin(self, tokens: list[int]) -> int:  # noqa: ARG002 (a mean needs all of them)
        """Drop what the context holds; -> how many of the tokens it still has."""
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        return 0

    def _pooled(self, total: Row, size: int) -> Row:
        """The row of the input so far, which was `total` before the last `size` tokens."""
        if self._pooling == POOLING_LAST:
            return self._row(lib.llama_get_embeddings_ith(self._context, size - 1))
        rows = lib.llama_get_embeddings(self._context)
        total += np.ctypeslib.as_array(rows, (size, self._width)).sum(axis=0)
        return total


def _result(steps: Generator[None, None, Row]) -> Row:
    try:
        while True:
            next(steps)
    except StopIteration as e:
        row: Row = e.value
        return row


def open_embedder(model: LlamaModel, config: LlamaConfig) -> Embedder:
    if model.pooling == POOLING_RANK:  # its output is one score, not a vector
        raise ModelLoadFailed(f"{config.name} is a reranker; it cannot embed")
    return DecoderEmbedder(model, config) if model.has_decoder else EncoderEmbedder(model, config)


def normalised(vector: Row) -> Row:
    norm = np.linalg.norm(vector)
    if not np.isfinite(norm):
        raise not_finite("input")
    vector /= np.float32(norm or 1)
    return vector
