"""Sizes of a transformer, read from a GGUF header."""

from __future__ import annotations

import msgspec

from edgeinfer.gguf.header import Header


class TransformerShape(msgspec.Struct, frozen=True):
    """Sizes of a transformer; 0 where the header does not tell.

    Attributes:
        kv_heads: KV heads of each layer; 0 for layers without attention.
        key, value: elements of one head.
        feed_forward: width of the hidden layers of all experts that one token passes through.
        active_experts: share of the experts that one token passes through.
        context: tokens of context that the model was trained for.
        generates: False for encoders, which have no KV cache.
    """

    layers: int = 0
    embedding: int = 0
    heads: int = 0
    kv_heads: tuple[int, ...] = ()
    key: int = 0
    value: int = 0
    feed_forward: int = 0
    vocabulary: int = 0
    active_experts: float = 1.0
    context: int | None = None
    generates: bool = True


UNKNOWN_SHAPE = TransformerShape()

MAX_LAYERS = 4096
"""A header that claims more is not believed."""


def transformer_shape(header: Header | None) -> TransformerShape:
    """Read the sizes from a header."""
    if header is None or (header.number("block_count") or 0) > MAX_LAYERS:
        return UNKNOWN_SHAPE
    layers = header.number("block_count") or 0
    embedding = header.number("embedding_length") or 0
    heads = max(_each(header, "attention.head_count"), default=0) or 1
    size = embedding // heads
    experts, used = header.number("expert_count") or 0, header.number("expert_used_count") or 0
    dense = max(_each(header, "feed_forward_length"), default=0)
    expert = (header.number("expert_feed_forward_length") or dense) * used
    return TransformerShape(
        layers=layers,
        embedding=embedding,
        heads=heads,
        kv_heads=_each(header, "attention.head_count_kv") or (heads,) * layers,
        key=header.number("attention.key_length") or size,
        value=header.number("attention.value_length") or size,
        feed_forward=max(dense, expert),
        vocabulary=header.vocabulary or _embedded(header),
        active_experts=min(1.0, used / experts) if experts and used else 1.0,
        context=header.number("context_length"),
        generates=header.metadata.get(f"{header.architecture}.attention.causal") is not False,
    )


def _each(header: Header, key: str) -> tuple[int, ...]:
    """Return one count for each layer; empty if the header has none that makes sense."""
    counts = header.per_layer(key) or ()
    return tuple(counts) if all(count >= 0 for count in counts) else ()


def _embedded(header: Header) -> int:
    """Return the number of tokens that the embedding has rows for."""
    for tensor in header.tensors:
        if tensor.name == "token_embd.weight" and len(tensor.shape) == 2:
            return tensor.shape[1]
    return 0
