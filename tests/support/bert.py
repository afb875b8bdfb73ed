"""A small encoder."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

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


def write_bert(path: Path) -> None:
    """An encoder-only model of two layers, with random weights and a vocabulary of a few words."""
    chance = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
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
        writer.add_tensor(f"{name}.weight", chance.normal(0, 0.3, shape).astype(np.float32))
        if len(shape) == 2 and not name.startswith("blk"):
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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
