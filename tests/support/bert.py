"""A small encoder, which embeds or reranks, and its network in numpy."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.support.weights import Array, read_weights, softmax

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *(f"▁{w}" for w in ("the", "sky", "is", "blue", "light")),
    "ish",
]
CLS, SEP, WIDTH = 2, 3, 32


def write_bert(
    path: Path,
    pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN,
    *,
    head: bool = False,
    spoiled: str | None = None,
) -> None:
    """An encoder-only model of two layers, with random weights and a vocabulary of a few words.

    With a `head` it reranks; files made from real rerankers of this kind have no `pooling`. The state of the word
    that is `spoiled` is no number.
    """
    chance = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([3 if word[0] == "[" else 1 for word in WORDS])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(CLS)
    writer.add_sep_token_id(SEP)
    writer.add_mask_token_id(4)

    def add(name: str, *shape: int) -> None:
        values = chance.normal(0, 0.3, shape).astype(np.float32)
        if name == "token_embd" and spoiled is not None:
            values[WORDS.index(spoiled)] = np.nan
        writer.add_tensor(f"{name}.weight", values)
        if len(shape) == 2 and name.startswith(("token", "position")):
            return  # an embedding
        writer.add_tensor(f"{name}.bias", chance.normal(0, 0.1, shape[:1]).astype(np.float32))

    add("token_embd", len(WORDS), WIDTH)
    add("token_types", 2, WIDTH)
    add("position_embd", 64, WIDTH)
    add("token_embd_norm", WIDTH)
    for i in range(2):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{i}.{name}", WIDTH, WIDTH)
        add(f"blk.{i}.attn_output_norm", WIDTH)
        add(f"blk.{i}.ffn_up", 64, WIDTH)
        add(f"blk.{i}.ffn_down", WIDTH, 64)
        add(f"blk.{i}.layer_output_norm", WIDTH)
    if head:
        add("cls", WIDTH, WIDTH)
        add("cls.output", 1, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def bert_score(path: Path, tokens: list[int]) -> float:
    """What the head makes of the first token's state, computed without llama.cpp."""
    weights = read_weights(path)

    def linear(x: Array, name: str) -> Array:
        product: Array = x @ weights[f"{name}.weight"].T
        return product + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        unit: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    embedded = weights["token_embd.weight"][tokens] + weights["token_types.weight"][0]
    x = norm(embedded + weights["position_embd.weight"][: len(tokens)], "token_embd_norm")
    for i in range(2):
        q, k, v = (
            linear(x, f"blk.{i}.attn_{kind}").reshape(len(tokens), 4, -1).swapaxes(0, 1) for kind in "qkv"
        )
        mixed = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])) @ v
        attended = linear(mixed.swapaxes(0, 1).reshape(len(tokens), -1), f"blk.{i}.attn_output")
        x = norm(x + attended, f"blk.{i}.attn_output_norm")
        hidden = linear(x, f"blk.{i}.ffn_up")
        gelu = hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3))) / 2
        x = norm(x + linear(gelu, f"blk.{i}.ffn_down"), f"blk.{i}.layer_output_norm")
    return float(linear(np.tanh(linear(x[0], "cls")), "cls.output")[0])
