"""What a model file's name says: what the model may be called, its quantization, and whether it is one at all."""

from __future__ import annotations

import re

from edgeinfer.store.names import file_problem, name_problem

QUANT = re.compile(
    r"(?:^|[-_.])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]+)*|B?F16|FP16|F32|MXFP4(?:_MOE)?|NVFP4|TQ\d_\d))\.gguf$", re.I
)
SPLIT = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.I)
NO_MODEL = re.compile(r"(?:^|[-_./])(?:mmproj|imatrix)[-_.]", re.I)
"""Vision projectors and importance matrices, which are GGUF files too."""

MAX_NAME_LENGTH = 80
NAMELESS = re.compile(r"(ggml-)?model|sha256-[0-9a-f]+|[0-9a-f]{32,}|gguf")
"""Names that say nothing of the model."""


def is_model_file(file: str) -> bool:
    """Whether `file` is called like a model, and a whole one: no part of one, no projector."""
    return (
        file.lower().endswith(".gguf")
        and file.isprintable()
        and not (NO_MODEL.search(file) or SPLIT.search(file) or file_problem(file))
    )


def quant_label(file: str) -> str:
    """The quantization that a file's name ends in, such as "Q4_K_M"; "GGUF" where it has none."""
    found = QUANT.search(file)
    return found[1].upper().replace("FP16", "F16") if found else "GGUF"


def quant_from_file(file: str) -> str | None:
    return quant_label(file) if QUANT.search(file) else None


def name_from_file(file: str, repo: str | None = None) -> str:
    """A name made of a file's, without its quantization; of its repository's where that says nothing."""
    stem = re.sub(r"\.gguf$", "", file, flags=re.I)
    name = slug(QUANT.sub("", f"{stem}.gguf").removesuffix(".gguf"))
    if repo and NAMELESS.fullmatch(name):
        return slug(re.sub(r"[-_.]gguf$", "", repo.partition("/")[2], flags=re.I))
    return name


def slug(text: str) -> str:
    """`text` as a model may be called; "model" where nothing is left of it."""
    words = re.sub(r"[^a-z0-9._]+", "-", text.lower())
    name = re.sub(r"[._-]{2,}", "-", words)[:MAX_NAME_LENGTH].strip("._-")
    return "model" if name_problem(name) else name
