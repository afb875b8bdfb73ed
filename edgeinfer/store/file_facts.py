"""Tells what a model file says about itself, for lists of models that are not loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.safetensors.folder import is_model_folder, read_folder, read_tokenizer
from edgeinfer.store.lookup import header_roles

VOCAB_TYPES = {"llama": 1, "gpt2": 2, "gemma4": 2, "bert": 3, "t5": 4, "rwkv": 5, "plamo2": 6}
"""`tokenizer.ggml.model` -> llama.cpp's number for the kind of its vocabulary; 0 is none."""

INFILL_TOKENS = ("fim_pre", "prefix")
"""Names of the token before a prefix, today's and the older one."""


INFILL_TAG = "<|fim_prefix|>"
"""The token before a prefix in the vocabularies of Qwen's coders."""


class FileFacts(msgspec.Struct, frozen=True):
    """Facts about a model file, from its header.

    Attributes:
        size: bytes of the tensors.
        file_type: the quantization, such as "Q4_K_M"; None if it is unknown.
        template: its chat template; "" if it has none. Untrusted.
        is_embedding: it makes embeddings, not text.
        is_reranker: it scores documents, and does nothing else.
        has_infill: it names tokens for filling gaps. A file without them may still have such tokens.
    """

    path: str
    architecture: str
    n_params: int
    size: int
    vocab_size: int
    vocab_type: int
    n_embd: int
    n_ctx_train: int
    file_type: str | None
    template: str
    is_embedding: bool
    is_reranker: bool
    has_infill: bool


def read_facts(path: str) -> FileFacts | None:
    """The facts about the file or folder at `path`; None if it is no sound model."""
    try:
        if is_model_folder(Path(path)):
            return _folder_facts(Path(path))
        header = read_header(Path(path))
    except ModelLoadFailed:
        return None
    template = header.metadata.get("tokenizer.chat_template")
    return FileFacts(
        path=path,
        architecture=header.architecture,
        n_params=sum(math.prod(tensor.shape) for tensor in header.tensors),
        size=header.weight_bytes,
        vocab_size=header.vocabulary or 0,
        vocab_type=_vocab_type(header),
        n_embd=header.number("embedding_length") or 0,
        n_ctx_train=header.number("context_length") or 0,
        file_type=header.file_type,
        template=template if isinstance(template, str) else "",
        is_embedding="embed" in header_roles(header),
        is_reranker=header.reranks,
        has_infill=any(f"tokenizer.ggml.{name}_token_id" in header.metadata for name in INFILL_TOKENS),
    )


def _folder_facts(path: Path) -> FileFacts:
    folder, tokenizer = read_folder(path), read_tokenizer(path)
    return FileFacts(
        path=str(path),
        architecture=folder.architecture,
        n_params=folder.parameters,
        size=folder.size,
        vocab_size=folder.vocabulary,
        vocab_type=VOCAB_TYPES["gpt2"],
        n_embd=folder.embedding,
        n_ctx_train=folder.context,
        file_type=folder.dtype,
        template=tokenizer.chat_templates.get("default", ""),
        is_embedding=not folder.generates,
        is_reranker=False,
        has_infill=INFILL_TAG in tokenizer.vocabulary.added,
    )


def read_metadata(path: str) -> Mapping[str, object]:
    """The metadata of the file at `path`, as far as `Header` has it; none if it is not a valid GGUF file."""
    try:
        return read_header(Path(path)).metadata
    except ModelLoadFailed:
        return {}


def _vocab_type(header: Header) -> int:
    return VOCAB_TYPES.get(str(header.metadata.get("tokenizer.ggml.model")), 0)
