"""Small vocabularies as GGUF files without weights, one for each way in which llama.cpp tokenizes."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.support.gguf import byte_char, byte_tokens

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6

PRE_TYPES = (
    "default", "minicpm5", "llama3", "llama-bpe", "falcon3", "pixtral", "lfm2", "deepseek-llm", "deepseek-coder",
    "deepseek-v3", "spark2_5", "youtu", "falcon", "mpt", "starcoder", "gpt-2", "phi-2", "gigachat", "mellum",
    "modern-bert", "jais-2", "gemma4", "sarvam-moe", "jina-v1-en", "jina-v2-code", "roberta-bpe", "whitespace",
    "refact", "command-r", "qwen2", "deepseek-r1-qwen", "qwen35", "stablelm2", "olmo", "dbrx", "smaug-bpe",
    "poro-chat", "chatglm-bpe", "glm4", "viking", "jais", "tekken", "smollm", "codeshell", "bloom",
    "gpt3-finnish", "exaone", "exaone4", "exaone-moe", "chameleon", "minerva-7b", "megrez", "gpt-4o", "llama4",
    "kanana2", "granite-embed-multi-97m", "granite-embed-multi-311m", "tiny_aya", "cohere2moe", "superbpe",
    "trillion", "granite-docling", "bailingmoe", "seed-coder", "hunyuan", "hunyuan-dense", "hy_v4", "joyai-llm",
    "kimi-k2", "ufakzeka", "grok-2", "afmoe", "laguna", "minimax-m2", "solar-open", "mellum2",
)  # fmt: skip
"""The values of tokenizer.ggml.pre that llama.cpp knows, those that mean the same left out."""

MODELS = ("llama", "bert", "t5", "rwkv", "plamo2")
"""The values of tokenizer.ggml.model beside that of BPE."""


def write_vocabulary(path: Path, kind: str, without: bytes = b"") -> None:
    """Write the vocabulary of one of MODELS, or of BPE with one of PRE_TYPES, perhaps `without` some bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-6)
    add_tokenizer(writer, kind, without)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, kind: str, without: bytes = b"") -> int:
    """Add a tokenizer; -> how many tokens it has. A byte that it is `without` leaves an unused token."""
    if kind in MODELS:
        writer.add_tokenizer_model(kind)
        tokens, types = _pieces(kind)
        writer.add_token_scores([-float(i % 50) for i in range(len(tokens))])
    else:
        writer.add_tokenizer_model("whitespace" if kind == "whitespace" else "gpt2")
        writer.add_tokenizer_pre(kind)
        raw = kind in ("gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace")
        tokens, types = _bpe(raw, without)
        writer.add_token_merges(["a a", "aa aa", "a b"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    return len(tokens)


def _bpe(raw: bool, without: bytes) -> tuple[list[str], list[int]]:
    units = [*BYTES, *map(chr, range(33, 127)), "\u2581", "\n"] if raw else byte_tokens()
    missing = {f"<0x{byte:02X}>" if raw else byte_char(byte) for byte in without}
    units = [f"[unused{i}]" if unit in missing else unit for i, unit in enumerate(units)]
    tokens = ["<|end|>", *units, "aa", "aaaa", "ab"]
    return tokens, [CONTROL, *[NORMAL] * (len(tokens) - 1)]


def _pieces(kind: str) -> tuple[list[str], list[int]]:
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    space = "\u2581"
    pieces = [space, "a", "b", "aa", "ab", f"{space}a", f"{space}ab", "."]
    if kind == "bert":
        special += [f"[unused{i}]" for i in range(len(special), 100)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return [*special, *pieces], [CONTROL, *[NORMAL] * (len(special) + len(pieces) - 1)]
    if kind == "rwkv":
        return ["<s>", *[f"\\x{byte:02x}" for byte in range(256)], "aa", "ab"], [CONTROL, *[NORMAL] * 258]
    tokens = [*special, *BYTES, *pieces]
    return tokens, [UNKNOWN, *[CONTROL] * (len(special) - 1), *[BYTE] * 256, *[NORMAL] * len(pieces)]
