"""For the tests of what is installed: small GGUF files, and models of them in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from edgeinfer.store.disk import sha256_of
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(
    path: Path,
    title: str = "tiny",
    *,
    file_type: int | None = 0,
    template: bool = True,
    pooling: int | None = None,
    causal: bool | None = None,
) -> Path:
    """A sound file, of one tensor and without a vocabulary. What is None is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name(title)
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    if file_type is not None:
        writer.add_file_type(file_type)
    if template:
        writer.add_chat_template("{{ messages[0].content }}")
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(pooling))
    if causal is not None:
        writer.add_causal_attention(causal)
    writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def install(store: Store, name: str, quant: str = "Q4_K_M", **model: Any) -> StoredModel:
    """A model in the store, as a download leaves it."""
    repo = f"owner/{name}-GGUF"
    partial = write_model(store.incoming(repo, COMMIT) / "partial", title=f"{name} {quant}", **model)
    return store.adopt(
        partial,
        StoredModel(
            name=name,
            quant=quant,
            path=partial,
            size=partial.stat().st_size,
            sha256=sha256_of(partial),
            repo=repo,
            revision=COMMIT,
            file=f"{name}-{quant}.gguf",
            origin="hub",
        ),
    )
