"""Splits what people write for a model: NAME, NAME:QUANT, or NAME:SIZE as in Ollama's library."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from edgeinfer.errors import ModelNotFound
from edgeinfer.gguf.file_types import FILE_TYPES
from edgeinfer.store.catalogue import ModelSpec, resolve_spec

LATEST = "latest"
QUANT = re.compile(r"(?:ud-)?(?:i?q\d|b?f16|fp16|f32|mxfp4|tq\d)[a-z0-9_]*", re.I)
SIZE = re.compile(r"(\d+(?:\.\d+)?)([mb])\b", re.I)
UNITS = {"m": 1e6, "b": 1e9}
SIZE_TOLERANCE = 0.25
"""Sizes in names are rounded, and some leave out the embedding."""

VARIANTS = ("instruct", "it", "chat", "text")
"""Words in Ollama's tags for what every model here is."""


def split_name(text: str, environ: Mapping[str, str] = os.environ) -> tuple[str, str | None]:
    """Return a name and a quantization, which is None if there is none: "qwen3:0.6b-q8_0" is qwen3-0.6b, Q8_0.

    What is no model of the catalogue is returned as it is written. No error is raised.
    """
    name, colon, tag = text.partition(":")
    if not colon or tag.lower() == LATEST:
        return name, None
    if QUANT.fullmatch(tag) or tag.upper() in FILE_TYPES.values():
        return name, tag
    size, _, quant = tag.rpartition("-")
    if not (size and QUANT.fullmatch(quant)):
        size, quant = tag, ""
    words = [word for word in size.split("-") if word.lower() not in VARIANTS]
    model = _sized(name, "-".join(words), environ)
    if model is None and SIZE.match(size):
        return f"{name}-{size}", quant or None
    return (model, quant or None) if model else (name, tag)


def _sized(name: str, size: str, environ: Mapping[str, str]) -> str | None:
    """Return the name of the catalogue's model of that family and size."""
    try:
        return resolve_spec(f"{name}-{size}", environ)[0]
    except ModelNotFound:
        pass
    try:
        model, spec = resolve_spec(name, environ)
    except ModelNotFound:
        return None
    return model if _has_size(spec, size) else None


def _has_size(spec: ModelSpec, size: str) -> bool:
    match = SIZE.fullmatch(size)
    if not match or not spec.parameters:
        return False
    parameters = float(match[1]) * UNITS[match[2].lower()]
    return abs(spec.parameters - parameters) <= SIZE_TOLERANCE * parameters
