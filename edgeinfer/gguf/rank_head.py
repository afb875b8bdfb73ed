"""The head that makes a model a reranker: it turns a query and a document into a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeinfer.gguf.reader import Value

POOLING_RANK = 4
"""llama.cpp's pooling type of rerankers."""

OUTPUT, SINGLE = "cls.output.weight", "cls.weight"
"""Tensors that end in scores: one score for each label, or only one."""

SOFTMAX = ("qwen3", "qwen3vl")
"""Architectures whose scores are shares: of one label, it would be everything."""


def rank_outputs(
    metadata: Mapping[str, Value], lengths: Mapping[str, int], tensors: Mapping[str, Sequence[int]]
) -> int:
    """Return how many scores the head gives; 0 if the file has none. `tensors` are shapes by name."""
    labels = lengths.get(f"{metadata.get('general.architecture')}.classifier.output_labels", 0) or 1
    if (output := tensors.get(OUTPUT)) and _columns(output) == labels:
        return labels
    return 1 if labels == 1 and (single := tensors.get(SINGLE)) and _columns(single) == 1 else 0


def is_reranker(
    metadata: Mapping[str, Value], lengths: Mapping[str, int], tensors: Mapping[str, Sequence[int]]
) -> bool:
    """The file's pooling says so, or it has a head with one score: most of those say nothing of their pooling."""
    pooling = metadata.get(f"{metadata.get('general.architecture')}.pooling_type")
    return pooling == POOLING_RANK or rank_outputs(metadata, lengths, tensors) == 1


def check_rank_head(
    metadata: Mapping[str, Value], lengths: Mapping[str, int], tensors: Mapping[str, Sequence[int]]
) -> None:
    """Raise ValueError for a reranker whose scores would mean nothing: llama.cpp would give any number for one."""
    architecture = metadata["general.architecture"]
    if metadata.get(f"{architecture}.pooling_type") != POOLING_RANK:
        return
    outputs = rank_outputs(metadata, lengths, tensors)
    if not outputs:
        raise ValueError("it is a reranker, but lacks the classification head that gives the scores")
    if outputs == 1 and architecture in SOFTMAX:
        raise ValueError("it is a reranker with one label, so that every score would be 1")


def _columns(shape: Sequence[int]) -> int:
    """Return the number of outputs of a matrix; ggml leaves out a dimension of 1 at the end."""
    return shape[1] if len(shape) > 1 else 1
