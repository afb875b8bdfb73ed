"""A small reranker of Jina's first kind: an encoder without positions, with one matrix for its head."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.support.gguf import byte_tokens

CONTROLS = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
START, END = 0, 1
WIDTH, HEADS, HIDDEN, LAYERS = 32, 4, 48, 2


def write_jina_reranker(path: Path) -> None:
    """Two layers with random weights, and a token for each byte. The file says nothing of its pooling."""
    chance = np.random.default_rng(11)
    tokens = [*CONTROLS, *byte_tokens()]
    writer = gguf.GGUFWriter(path, "jina-bert-v2")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("jina-v1-en")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROLS else 1 for token in tokens])
    writer.add_token_merges(["a b"])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(START)
    writer.add_eos_token_id(END)
    writer.add_sep_token_id(END)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, chance.normal(0, 0.3, shape).astype(np.float32))

    def norm(name: str) -> None:
        add(f"{name}.weight", WIDTH)
        add(f"{name}.bias", WIDTH)

    add("token_embd.weight", len(tokens), WIDTH)
    add("token_types.weight", 2, WIDTH)
    norm("token_embd_norm")
    for i in range(LAYERS):
        for kind in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{i}.{kind}.weight", WIDTH, WIDTH)
            add(f"blk.{i}.{kind}.bias", WIDTH)
        norm(f"blk.{i}.attn_output_norm")
        add(f"blk.{i}.ffn_up.weight", HIDDEN, WIDTH)
        add(f"blk.{i}.ffn_gate.weight", HIDDEN, WIDTH)
        add(f"blk.{i}.ffn_down.weight", WIDTH, HIDDEN)
        add(f"blk.{i}.ffn_down.bias", WIDTH)
        norm(f"blk.{i}.layer_output_norm")
    add("cls.weight", 1, WIDTH)
    add("cls.bias", 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
