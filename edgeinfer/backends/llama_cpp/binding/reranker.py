"""Computes how relevant a document is for a query: an embedder that ends in the model's classification head."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np

from edgeinfer.backends.llama_cpp.binding.context import FLASH_OFF
from edgeinfer.backends.llama_cpp.binding.embedder import DecoderEmbedder, Embedder, EncoderEmbedder
from edgeinfer.backends.llama_cpp.binding.model import POOLING_RANK, LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Row
from edgeinfer.errors import not_finite


class EncoderReranker(EncoderEmbedder):
    """Scores pairs with a model such as BERT, which reads a pair in one piece."""

    def __init__(self, model: LlamaModel, config: LlamaConfig) -> None:
        super().__init__(model, config)
        self._width = model.n_scores

    def _configure(self, params: Any) -> None:
        params.pooling_type = POOLING_RANK

    def _finished(self, row: Row) -> Row:
        return score(row)


class DecoderReranker(DecoderEmbedder):
    """Scores pairs with a model such as Qwen3-Reranker: how likely it says yes after the last token.

    The pairs of a request begin alike, with the query. That is read once, until `forget`.
    """

    def __init__(self, model: LlamaModel, config: LlamaConfig) -> None:
        super().__init__(model, config)
        self._width = model.n_scores

    def _compute(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:
        row = yield from super()._compute(tokens, chunk)
        self._held = tokens  # not if it failed, or was given up
        return row

    def _begin(self, tokens: list[int]) -> int:
        pairs = zip(self._held, tokens[:-1], strict=False)  # the last token's score is wanted
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self._held), len(tokens) - 1))
        self._held = []
        if same and lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), 0, same, -1):
            return same
        return super()._begin(tokens)

    def _configure(self, params: Any) -> None:
        params.pooling_type = POOLING_RANK
        params.flash_attn_type = FLASH_OFF

    def _pooled(self, total: Row, size: int) -> Row:  # noqa: ARG002 (the last chunk's score is the pair's)
        return self._row(lib.llama_get_embeddings_seq(self._context, 0))

    def _finished(self, row: Row) -> Row:
        return score(row)


def open_reranker(model: LlamaModel, config: LlamaConfig) -> Embedder:
    return DecoderReranker(model, config) if model.has_decoder else EncoderReranker(model, config)


def score(row: Row) -> Row:
    """The first label's score. Raises DecodeFailed if it is no number."""
    if not np.isfinite(row[0]):
        raise not_finite("document")
    return row[:1]
