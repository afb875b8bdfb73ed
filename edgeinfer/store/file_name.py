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

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""Quantizations by general.file_type, which is llama_ftype of llama.h."""


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
