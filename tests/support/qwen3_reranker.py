"""A small reranker of Qwen3's kind, which answers yes or no, and its network in numpy."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.support.gguf import byte_tokens
from tests.support.weights import Array, read_weights, softmax

WIDTH, HEADS, KV_HEADS, HEAD, HIDDEN, LAYERS, CONTEXT = 32, 4, 2, 16, 48, 2, 512
CONTROLS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = "<|im_start|>user\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n"


def write_qwen3_reranker(
    path: Path, *, labels: tuple[str, ...] = ("yes", "no"), template: str = TEMPLATE
) -> None:
    """A reranker of two layers, with random weights and a token for each byte."""
    chance = np.random.default_rng(7)
    tokens = [*byte_tokens(), "\u0120q", *CONTROLS]
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(list(labels))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROLS else 1 for token in tokens])
    writer.add_token_merges(["\u0120 q"])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template([{"name": "rerank", "template": template}])

    def add(name: str, *shape: int) -> None:
        values = chance.normal(1 if len(shape) == 1 else 0, 0.3, shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    add("token_embd", len(tokens), WIDTH)
    for i in range(LAYERS):
        add(f"blk.{i}.attn_norm", WIDTH)
        add(f"blk.{i}.attn_q", HEADS * HEAD, WIDTH)
        add(f"blk.{i}.attn_k", KV_HEADS * HEAD, WIDTH)
        add(f"blk.{i}.attn_v", KV_HEADS * HEAD, WIDTH)
        add(f"blk.{i}.attn_q_norm", HEAD)
        add(f"blk.{i}.attn_k_norm", HEAD)
        add(f"blk.{i}.attn_output", WIDTH, HEADS * HEAD)
        add(f"blk.{i}.ffn_norm", WIDTH)
        add(f"blk.{i}.ffn_gate", HIDDEN, WIDTH)
        add(f"blk.{i}.ffn_up", HIDDEN, WIDTH)
        add(f"blk.{i}.ffn_down", WIDTH, HIDDEN)
    add("output_norm", WIDTH)
    add("cls.output", len(labels), WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def qwen3_score(path: Path, tokens: list[int]) -> float:
    """The share of yes after the last token, computed without llama.cpp."""
    weights = read_weights(path)
    n = len(tokens)

    def norm(x: Array, name: str) -> Array:
        unit: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return unit * weights[f"{name}.weight"]

    def linear(x: Array, name: str) -> Array:
        product: Array = x @ weights[f"{name}.weight"].T
        return product

    def heads(x: Array, count: int) -> Array:
        return x.reshape(n, count, HEAD).swapaxes(0, 1)

    def rotated(x: Array) -> Array:
        angles = np.arange(n)[:, None] * 10000.0 ** (-np.arange(0, HEAD, 2) / HEAD)
        cos, sin, (a, b) = np.cos(angles), np.sin(angles), np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)

    x, future = weights["token_embd.weight"][tokens], np.triu(np.full((n, n), -np.inf), 1)
    for i in range(LAYERS):
        y = norm(x, f"blk.{i}.attn_norm")
        q = rotated(norm(heads(linear(y, f"blk.{i}.attn_q"), HEADS), f"blk.{i}.attn_q_norm"))
        k = rotated(norm(heads(linear(y, f"blk.{i}.attn_k"), KV_HEADS), f"blk.{i}.attn_k_norm"))
        v = heads(linear(y, f"blk.{i}.attn_v"), KV_HEADS)
        k, v = (np.repeat(part, HEADS // KV_HEADS, axis=0) for part in (k, v))
        mixed = softmax(q @ k.swapaxes(1, 2) / np.sqrt(HEAD) + future) @ v
        x = x + linear(mixed.swapaxes(0, 1).reshape(n, -1), f"blk.{i}.attn_output")
        y = norm(x, f"blk.{i}.ffn_norm")
        gate = linear(y, f"blk.{i}.ffn_gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(y, f"blk.{i}.ffn_up"), f"blk.{i}.ffn_down")
    return float(softmax(linear(norm(x[-1], "output_norm"), "cls.output"))[0])
