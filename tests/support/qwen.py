"""The header of a small model, for plans."""

from __future__ import annotations

from edgeinfer.gguf.reader import Value

QWEN: dict[str, Value] = {
    "general.architecture": "qwen2",
    "qwen2.block_count": 24,
    "qwen2.context_length": 32768,
    "qwen2.embedding_length": 896,
    "qwen2.attention.head_count": 14,
    "qwen2.attention.head_count_kv": 2,
}
"""Metadata of Qwen2.5-0.5B."""
