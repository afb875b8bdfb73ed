"""A model in F16 that llama.cpp can quantize."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np


def write_f16_model(path: Path, arch: str = "llama", layers: int = 9) -> None:
    """A model of random weights in F16: 9 layers, so that the rules for first and last ones show."""
    size, vocabulary = 256, 64
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(512)
    writer.add_embedding_length(size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(size)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(vocabulary)])
    writer.add_token_merges([])
    random = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        values = (
            random.standard_normal(shape, dtype=np.float32) if len(shape) > 1 else np.ones(shape, np.float32)
        )
        writer.add_tensor(name, values.astype(np.float16) if len(shape) > 1 else values)

    add("token_embd.weight", vocabulary, size)
    add("output_norm.weight", size)
    for layer in range(layers):
        add(f"blk.{layer}.attn_norm.weight", size)
        add(f"blk.{layer}.ffn_norm.weight", size)
        for name, rows in (("attn_q", 256), ("attn_k", 128), ("attn_v", 128), ("attn_output", 256)):
            add(f"blk.{layer}.{name}.weight", rows, size)
        for name in ("ffn_gate", "ffn_up", "ffn_down"):
            add(f"blk.{layer}.{name}.weight", size, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
