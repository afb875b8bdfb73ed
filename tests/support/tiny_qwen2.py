"""A tiny Qwen2 model with random weights, as a folder in Hugging Face's format: half a megabyte."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FEED_FORWARD = 2, 64, 2, 1, 32, 128
CONTEXT = 2048

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ADDED = (*SPECIAL, "<think>", "</think>", "<tool_call>", "</tool_call>")
"""Tokens after the 256 bytes. As in Qwen2's files, those of thoughts and of tools are not "special"."""

MERGES = ("Ġ t", "h e", "Ġt he", "i n", "a n", "Ġ a")
VOCABULARY = 256 + len(MERGES) + len(ADDED)

CHAT_TEMPLATE = (
    "{%- if tools %}<|im_start|>system\nYou may call tools: <tools>"
    "{%- for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    'For each call write <tool_call>\n{"name": NAME, "arguments": ARGUMENTS}\n</tool_call><|im_end|>\n{% endif %}'
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{%- if message.tool_calls %}{% for call in message.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{%- endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tiny_qwen2(folder: Path, *, shards: int = 1, seed: int = 1) -> Path:
    """Write the model into `folder`, in one file of weights or in several with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", _config())
    _write_json(folder / "generation_config.json", {"temperature": 0.6, "top_p": 0.9, "do_sample": True})
    _write_json(folder / "tokenizer.json", _tokenizer())
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    tensors = _tensors(np.random.default_rng(seed))
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return folder
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        write_safetensors(folder / file, {name: tensors[name] for name in part})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    _write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map}
    )
    return folder


def write_safetensors(path: Path, tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t.tobytes() for t in tensors.values()))


def byte_letters() -> list[str]:
    """The letter that stands for each byte in the vocabulary of a byte-level tokenizer, GPT-2's and its heirs'."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _config() -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": CONTEXT,
        "vocab_size": VOCABULARY,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": 256 + len(MERGES),
        "eos_token_id": 256 + len(MERGES) + 2,
    }


def _tokenizer() -> dict[str, Any]:
    vocabulary = {letter: byte for byte, letter in enumerate(byte_letters())}
    for merge in MERGES:
        vocabulary[merge.replace(" ", "")] = len(vocabulary)
    added = [
        {
            "id": len(vocabulary) + at,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": content in SPECIAL,
        }
        for at, content in enumerate(ADDED)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": list(MERGES),
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "Qwen2TokenizerFast",
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def _tensors(rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """Random weights. Letters and spaces are much likelier than other bytes, and an end is less likely."""

    def random(*shape: int, scale: float = 0.05) -> np.ndarray[Any, Any]:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    ones = np.ones(HIDDEN, np.float32)
    head = np.zeros((VOCABULARY, HIDDEN), np.float32)
    likely = [*range(97, 123), 32, 46, *range(256, 256 + len(MERGES))]
    head[likely] = random(len(likely), HIDDEN, scale=0.4)
    head[256 + len(MERGES) + 2] = random(HIDDEN, scale=0.2)
    tensors = {
        "model.embed_tokens.weight": random(VOCABULARY, HIDDEN, scale=1.0),
        "model.norm.weight": ones,
        "lm_head.weight": head,
    }
    width, kv_width = HEADS * HEAD_SIZE, KV_HEADS * HEAD_SIZE
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors |= {
            prefix + "input_layernorm.weight": ones,
            prefix + "post_attention_layernorm.weight": ones,
            prefix + "self_attn.q_proj.weight": random(width, HIDDEN),
            prefix + "self_attn.q_proj.bias": random(width),
            prefix + "self_attn.k_proj.weight": random(kv_width, HIDDEN),
            prefix + "self_attn.k_proj.bias": random(kv_width),
            prefix + "self_attn.v_proj.weight": random(kv_width, HIDDEN, scale=0.3),
            prefix + "self_attn.v_proj.bias": random(kv_width),
            prefix + "self_attn.o_proj.weight": random(HIDDEN, width, scale=0.3),
            prefix + "mlp.gate_proj.weight": random(FEED_FORWARD, HIDDEN, scale=0.2),
            prefix + "mlp.up_proj.weight": random(FEED_FORWARD, HIDDEN, scale=0.2),
            prefix + "mlp.down_proj.weight": random(HIDDEN, FEED_FORWARD, scale=0.2),
        }
    return tensors


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
