"""Derives a model's name and quantization from the name of its file."""

from __future__ import annotations

import re

from edgeinfer.store.names import file_problem, name_problem

QUANT = re.compile(
    r"(?:^|[-_.])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]+)*|B?F16|FP16|F32|MXFP4(?:_MOE)?|NVFP4|TQ\d_\d))\.gguf$", re.I
)
SPLIT = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.I)
NO_MODEL = re.compile(r"(?:^|[-_./])(?:mmproj|imatrix)[-_.]", re.I)
"""Matches vision projectors and importance matrices, which are GGUF files but not models."""

MAX_NAME_LENGTH = 80
NAMELESS = re.compile(r"(ggml-)?model|sha256-[0-9a-f]+|[0-9a-f]{32,}|gguf")
"""Matches names that say nothing about the model."""


def is_model_file(file: str) -> bool:
    """Tell whether `file` is named like a complete model: not a part of one, not a projector."""
    return (
        file.lower().endswith(".gguf")
        and file.isprintable()
        and not (NO_MODEL.search(file) or SPLIT.search(file) or file_problem(file))
    )


def quant_label(file: str) -> str:
    """Return the quantization that a file's name ends in, such as "Q4_K_M"; "GGUF" if it has none."""
    match = QUANT.search(file)
    return match[1].upper().replace("FP16", "F16") if match else "GGUF"


def quant_from_file(file: str) -> str | None:
    """Return the quantization that a file's name ends in; None if it has none."""
    return quant_label(file) if QUANT.search(file) else None


def name_from_file(file: str, repo: str | None = None) -> str:
    """Make a model's name from a file's, or from its repository's if the file's says nothing."""
    stem = re.sub(r"\.gguf$", "", file, flags=re.I)
    name = slug(QUANT.sub("", f"{stem}.gguf").removesuffix(".gguf"))
    if repo and NAMELESS.fullmatch(name):
        return slug(re.sub(r"[-_.]gguf$", "", repo.partition("/")[2], flags=re.I))
    return name


def slug(text: str) -> str:
    """Turn `text` into a valid name for a model; "model" if nothing is left of it."""
    words = re.sub(r"[^a-z0-9._]+", "-", text.lower())
    name = re.sub(r"[._-]{2,}", "-", words)[:MAX_NAME_LENGTH].strip("._-")
    return "model" if name_problem(name) else name
