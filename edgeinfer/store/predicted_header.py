"""Predicts the header of a model's file from its shape in the catalogue, to plan without a network.

The names and shapes of the tensors are those of llama.cpp's converter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from edgeinfer.gguf import quant_rules
from edgeinfer.gguf.ggml_types import row_bytes
from edgeinfer.gguf.header import ALIGNMENT, Header, Tensor
from edgeinfer.gguf.rank_head import POOLING_RANK
from edgeinfer.gguf.reader import Value
from edgeinfer.store.catalogue import ModelSpec, Shape

VOCABULARY_ENTRY = 40
"""Bytes of metadata per token, including merges and everything else; 39 in Qwen2's files."""

CONVOLUTION = 3
"""Width of LFM2's short convolutions."""

Dims = tuple[int, ...]


def predicted_header(spec: ModelSpec, quant: str) -> Header | None:
    """Predict what llama.cpp's quantizer makes of the model; None if the catalogue has no shape of it.

    Published files may differ by a few percent: many were made with an importance matrix, or by older rules.
    """
    shape = spec.shape
    if shape is None or shape.arch not in LAYERS or quant not in quant_rules.BASE_TYPE:
        return None
    kv_heads = _kv_heads(shape)
    attention = sum(heads > 0 for heads in kv_heads)
    group = shape.heads // kv_heads[0] if kv_heads[0] else 0
    file = spec.quant(quant)
    model = quant_rules.ModelTraits(
        shape.layers, attention, group, shape.tied, file is not None and file.pure
    )
    tensors = []
    counts: Counter[str] = Counter()
    end = _padded(shape.vocabulary * VOCABULARY_ENTRY)
    for prefix, name, dims in _tensors(shape, kv_heads):
        kind = quant_rules.tensor_type(quant, model, name, dims, counts[name])
        counts[name] += 1
        nbytes = row_bytes(kind, dims[0]) * math.prod(dims[1:])
        tensors.append(Tensor(prefix + name, dims, kind, _padded(end), nbytes))
        end = _padded(end) + nbytes
    lengths = {"tokenizer.ggml.tokens": shape.vocabulary}
    return Header(_metadata(spec, shape), tensors, end, lengths)


def expected_size(spec: ModelSpec, quant: str) -> int | None:
    """Return the bytes of the file as in the catalogue, else as predicted."""
    file = spec.quant(quant)
    if file and file.size:
        return file.size
    header = predicted_header(spec, quant)
    return header.size if header else None


def _padded(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _kv_heads(shape: Shape) -> list[int]:
    return shape.kv_heads if isinstance(shape.kv_heads, list) else [shape.kv_heads] * shape.layers


def _metadata(spec: ModelSpec, shape: Shape) -> dict[str, Value]:
    counts: dict[str, Value] = {
        "block_count": shape.layers,
        "context_length": spec.context,
        "embedding_length": shape.embedding,
        "feed_forward_length": shape.feed_forward,
        "vocab_size": shape.vocabulary,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": list(shape.kv_heads)
        if isinstance(shape.kv_heads, list)
        else shape.kv_heads,
        "attention.key_length": shape.head_size,
        "attention.value_length": shape.head_size,
    }
    if shape.experts and shape.experts_used:
        counts["expert_count"], counts["expert_used_count"] = shape.experts, shape.experts_used
        counts["expert_feed_forward_length"] = shape.feed_forward
    if "rerank" in spec.roles:
        counts["pooling_type"] = POOLING_RANK
    if shape.window:
        counts["attention.sliding_window"] = shape.window
    return {"general.architecture": shape.arch} | {f"{shape.arch}.{k}": v for k, v in counts.items()}


def _tensors(shape: Shape, kv_heads: list[int]) -> Iterator[tuple[str, str, Dims]]:
    """Yield prefix, name and dimensions of each tensor, those outside the layers first."""
    yield "", "token_embd.weight", (shape.embedding, shape.vocabulary)
    if not shape.tied:
        yield "", "output.weight", (shape.embedding, shape.vocabulary)
    yield "", "output_norm.weight", (shape.embedding,)
    for layer, heads in enumerate(kv_heads):
        for name, dims in LAYERS[shape.arch](shape, heads):
            yield f"blk.{layer}.", name, dims


def _llama(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield "attn_norm.weight", (shape.embedding,)
    yield from _attention(shape, kv_heads)
    yield from _feed_forward(shape)


def _qwen2(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield from _llama(shape, kv_heads)
    yield "attn_q.bias", (shape.heads * shape.head_size,)
    yield "attn_k.bias", (kv_heads * shape.head_size,)
    yield "attn_v.bias", (kv_heads * shape.head_size,)


def _qwen3(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield from _llama(shape, kv_heads)
    yield "attn_q_norm.weight", (shape.head_size,)
    yield "attn_k_norm.weight", (shape.head_size,)


def _qwen3moe(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    """Each layer has its experts in three tensors, and one that chooses among them."""
    yield "attn_norm.weight", (shape.embedding,)
    yield from _attention(shape, kv_heads)
    yield "attn_q_norm.weight", (shape.head_size,)
    yield "attn_k_norm.weight", (shape.head_size,)
    yield "ffn_norm.weight", (shape.embedding,)
    experts = shape.experts or 1
    yield "ffn_gate_inp.weight", (shape.embedding, experts)
    for name, (columns, rows) in _gated(shape):
        yield name.replace(".weight", "_exps.weight"), (columns, rows, experts)


def _gemma3(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield from _qwen3(shape, kv_heads)
    yield "post_attention_norm.weight", (shape.embedding,)
    yield "post_ffw_norm.weight", (shape.embedding,)


def _phi3(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    """Phi-3 has query, key and value in one tensor, and gate and up in another."""
    yield "attn_norm.weight", (shape.embedding,)
    yield "attn_qkv.weight", (shape.embedding, (shape.heads + 2 * kv_heads) * shape.head_size)
    yield "attn_output.weight", (shape.heads * shape.head_size, shape.embedding)
    yield "ffn_norm.weight", (shape.embedding,)
    yield "ffn_up.weight", (shape.embedding, 2 * shape.feed_forward)
    yield "ffn_down.weight", (shape.feed_forward, shape.embedding)


def _lfm2(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    """In LFM2, a layer without KV heads has a short convolution instead of attention."""
    if kv_heads:
        yield from _qwen3(shape, kv_heads)
        return
    yield "attn_norm.weight", (shape.embedding,)
    yield "shortconv.conv.weight", (CONVOLUTION, shape.embedding)
    yield "shortconv.in_proj.weight", (shape.embedding, 3 * shape.embedding)
    yield "shortconv.out_proj.weight", (shape.embedding, shape.embedding)
    yield from _feed_forward(shape)


def _nomic_bert(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield "attn_qkv.weight", (shape.embedding, (shape.heads + 2 * kv_heads) * shape.head_size)
    yield "attn_output.weight", (shape.heads * shape.head_size, shape.embedding)
    for norm in ("attn_output_norm", "layer_output_norm"):
        yield f"{norm}.weight", (shape.embedding,)
        yield f"{norm}.bias", (shape.embedding,)
    yield from _gated(shape)


def _jina_bert(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield from _attention(shape, kv_heads)
    for norm in ("attn_output_norm", "layer_output_norm"):
        yield f"{norm}.weight", (shape.embedding,)
        yield f"{norm}.bias", (shape.embedding,)
    yield from _gated(shape)


def _attention(shape: Shape, kv_heads: int) -> Iterator[tuple[str, Dims]]:
    yield "attn_q.weight", (shape.embedding, shape.heads * shape.head_size)
    yield "attn_k.weight", (shape.embedding, kv_heads * shape.head_size)
    yield "attn_v.weight", (shape.embedding, kv_heads * shape.head_size)
    yield "attn_output.weight", (shape.heads * shape.head_size, shape.embedding)


def _feed_forward(shape: Shape) -> Iterator[tuple[str, Dims]]:
    yield "ffn_norm.weight", (shape.embedding,)
    yield from _gated(shape)


def _gated(shape: Shape) -> Iterator[tuple[str, Dims]]:
    yield "ffn_gate.weight", (shape.embedding, shape.feed_forward)
    yield "ffn_up.weight", (shape.embedding, shape.feed_forward)
    yield "ffn_down.weight", (shape.feed_forward, shape.embedding)


LAYERS = {
    "llama": _llama,
    "smollm3": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3moe,
    "granite": _llama,
    "gemma3": _gemma3,
    "phi3": _phi3,
    "lfm2": _lfm2,
    "nomic-bert": _nomic_bert,
    "jina-bert-v2": _jina_bert,
}
"""For each architecture, the tensors of a layer with a given number of KV heads."""
