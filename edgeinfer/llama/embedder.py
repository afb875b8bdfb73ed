"""Embeddings, in a context of their own: there every token is an output, and pooling is on."""

from __future__ import annotations

import llama_cpp.llama_cpp as lib
import numpy as np

from edgeinfer.engine.backend import Batch, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.errors import ContextLengthExceeded, DecodeFailed, ModelLoadFailed
from edgeinfer.llama.batch import BatchView
from edgeinfer.llama.context import padded
from edgeinfer.llama.model import Model

POOLING_NONE, POOLING_MEAN = 0, 1
SEQUENCES = 8
"""Inputs computed together at most."""


class Embedder:
    """One L2-normalised vector an input. A model that does not say how it pools is pooled by the mean.

    An input must fit into one batch, because attention in an encoder looks both ways.
    """

    def __init__(self, model: Model, config: EngineConfig) -> None:
        self._n_embd = model.n_embd
        self._encodes = not model.has_decoder
        self.longest = min(config.ctx, model.n_ctx_train)
        self._batch = Batch(padded(self.longest))
        self._view = BatchView(self._batch)
        self._context = self._open(model, config, None)
        if self._context and lib.llama_pooling_type(self._context) == POOLING_NONE:
            lib.llama_free(self._context)
            self._context = self._open(model, config, POOLING_MEAN)
        if not self._context:
            raise ModelLoadFailed(f"no embedding context for {config.model}")

    def _open(self, model: Model, config: EngineConfig, pooling: int | None) -> object:
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self._batch.capacity
        params.n_seq_max = SEQUENCES
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = config.threads
        params.embeddings = True
        params.no_perf = True
        if pooling is not None:
            params.pooling_type = pooling
        return lib.llama_init_from_model(model.pointer, params)

    def embed(self, inputs: list[list[int]]) -> list[Row]:
        """Vectors of shape (n_embd,), in the order of the inputs.

        Raises:
            ContextLengthExceeded: an input is longer than `longest`.
        """
        for i, tokens in enumerate(inputs):
            if len(tokens) > self.longest:
                raise ContextLengthExceeded(
                    f"input {i} has {len(tokens)} tokens, and an embedding takes {self.longest}",
                    param="input",
                )
        vectors: list[Row] = []
        for group in self._groups(inputs):
            vectors += self._compute(group)
        return vectors

    def _groups(self, inputs: list[list[int]]) -> list[list[list[int]]]:
        groups: list[list[list[int]]] = []
        room = 0
        for tokens in inputs:
            if not groups or len(groups[-1]) == SEQUENCES or len(tokens) > room:
                groups.append([])
                room = self.longest
            groups[-1].append(tokens)
            room -= len(tokens)
        return groups

    def _compute(self, group: list[list[int]]) -> list[Row]:
        self._batch.clear()
        for i, tokens in enumerate(group):
            start = self._batch.size
            self._batch.add(i, 0, tokens, output=True)
            self._batch.outputs[start : self._batch.size] = 1
        if memory := lib.llama_get_memory(self._context):
            lib.llama_memory_clear(memory, True)
        run = lib.llama_encode if self._encodes else lib.llama_decode
        if code := run(self._context, self._view.of(self._batch)):
            raise DecodeFailed(f"the embedding could not be computed (code {code})")
        return [self._vector(i) for i in range(len(group))]

    def _vector(self, sequence: int) -> Row:
        pointer = lib.llama_get_embeddings_seq(self._context, sequence)
        vector = np.ctypeslib.as_array(pointer, (self._n_embd,)).copy()
        vector /= np.float32(np.linalg.norm(vector) or 1)
        return vector

    def close(self) -> None:
        if self._context:
            lib.llama_free(self._context)
            self._context = None
