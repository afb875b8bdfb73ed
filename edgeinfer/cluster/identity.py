"""Tells whether replicas on different machines run the same model."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from edgeinfer.inference.types import ModelInfo

SAMPLE = 1 << 20
"""Bytes that are read at either end of a file."""


def weights_id(path: str) -> str:
    """Identify the content of a model file by its size, its beginning and its end; "" if there is no such file.

    Unlike `ModelInfo.revision`, it is the same for copies of a file on several machines.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(size.to_bytes(8, "little"))
            digest.update(file.read(SAMPLE))
            file.seek(max(0, size - SAMPLE))
            digest.update(file.read(SAMPLE))
    except OSError:
        return ""
    return digest.hexdigest()[:16]


def prompt_format(info: ModelInfo) -> str:
    """Identify what the prompts of a model depend on: two quantizations of it have the same."""
    parts = (
        info.architecture,
        info.vocab_size,
        info.add_bos,
        info.bos,
        info.eos,
        info.control_tokens,
        sorted(info.chat_templates.items()),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
