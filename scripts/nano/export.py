"""Writes the trained network and its vocabulary as a GGUF file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from chat import template_source
from model import Config
from tokenizer import CONTROL, MARKUP
from tokenizers import Tokenizer

NAMES = {
    "attn_norm.weight": "attn_norm.weight", "ffn_norm.weight": "ffn_norm.weight",
    "attn.q.weight": "attn_q.weight", "attn.q.bias": "attn_q.bias", "attn.k.weight": "attn_k.weight",
    "attn.k.bias": "attn_k.bias", "attn.v.weight": "attn_v.weight", "attn.v.bias": "attn_v.bias",
    "attn.o.weight": "attn_output.weight", "gate.weight": "ffn_gate.weight", "up.weight": "ffn_up.weight",
    "down.weight": "ffn_down.weight",
}  # fmt: skip
FIM = {"fim_pre": "<|fim_prefix|>", "fim_mid": "<|fim_middle|>", "fim_suf": "<|fim_suffix|>",
       "fim_pad": "<|fim_pad|>", "fim_rep": "<|repo_name|>", "fim_sep": "<|file_sep|>"}  # fmt: skip


def tensor_name(name: str) -> str:
    if name == "embed.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{NAMES[rest]}"


def add_shape(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.eps)


def add_vocabulary(writer: gguf.GGUFWriter, path: Path) -> None:
    """The tokens in order of their ids, the merges in order of their rank."""
    tokenizer = Tokenizer.from_file(str(path))
    tokens = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]
    kinds = dict.fromkeys(CONTROL, gguf.TokenType.CONTROL) | dict.fromkeys(
        MARKUP, gguf.TokenType.USER_DEFINED
    )
    merges: list[Any] = json.loads(path.read_text())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    for key, token in FIM.items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", tokens.index(token))
    writer.add_chat_template(template_source())


def write(directory: Path, out: Path, kind: str) -> None:
    """Write beside the target and rename; vectors stay float32, as llama.cpp wants them."""
    saved = torch.load(directory / "model.pt", weights_only=True)
    config = Config(**saved["config"])
    weights: dict[str, torch.Tensor] = saved["weights"]
    count = sum(w.numel() for w in weights.values())
    temporary = out.with_suffix(".tmp")
    writer = gguf.GGUFWriter(str(temporary), "qwen2")
    writer.add_name("edgeinfer-nano")
    writer.add_basename("edgeinfer-nano")
    writer.add_description(
        "Answers questions about edgeinfer and turns simple device commands into tool calls"
    )
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_size_label(f"{count / 1e6:.1f}M")
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == "q8_0" else gguf.LlamaFileType.MOSTLY_F16)
    add_shape(writer, config)
    add_vocabulary(writer, directory / "tokenizer.json")
    for name, weight in weights.items():
        data = weight.detach().float().numpy()
        if data.ndim == 1:
            writer.add_tensor(tensor_name(name), data)
        elif kind == "f16":
            writer.add_tensor(tensor_name(name), data.astype(np.float16))
        else:
            packed = gguf.quants.quantize(data, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor_name(name), packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(out)
    print(f"{out.name}: {count} parameters, {out.stat().st_size} bytes, step {saved['step']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="holds model.pt and tokenizer.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=("f16", "q8_0"), default="q8_0")
    options = parser.parse_args()
    write(options.directory, options.out, options.type)


if __name__ == "__main__":
    main()
