"""Checks what llama.cpp takes for granted in a header: where it is wrong, llama.cpp ends the process."""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.gguf.reader import Value

MAX_ARCHITECTURE = 64
"""Characters of its name, which errors repeat."""

MAX_LAYERS = 512
MAX_EXPERTS = 1024
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")

ONE_HEAD_SIZE = frozenset(
    {"granite", "llama", "mistral3", "olmo2", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "qwen3vl", "smollm3"}
)
"""Architectures whose keys, values and rotation must have the same size; in others they may differ."""

RANGES = {
    "block_count": (1, MAX_LAYERS),
    "context_length": (1, 1 << 30),
    "embedding_length": (1, 1 << 20),
}
"""Counts that every model has, with their smallest and largest plausible values."""

EPSILONS = (
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.group_norm_epsilon",
)

MIN_ALIGNMENT = 32
"""Bytes; ggml needs this much to compute with the mapped file."""

WHOLE_NUMBERS = frozenset({"I8", "I16", "I32", "I64", "F64"})
"""Types of lookup tables, which no weight may have: ggml cannot multiply with them."""


def check_alignment(alignment: Value) -> int:
    """Return the alignment; raise ValueError for one that ggml cannot work with."""
    if type(alignment) is not int or alignment < MIN_ALIGNMENT or alignment & (alignment - 1):
        raise ValueError(f"its alignment is {_shown(alignment)}")
    return alignment


def check_type(name: str, dimensions: int, kind: str) -> None:
    """Raise ValueError for a tensor that llama.cpp would load and then fail to compute with."""
    plain = name.endswith("_norm.weight") or (dimensions == 1 and name.endswith((".weight", ".bias")))
    if (plain and kind != "F32") or (name.endswith(".weight") and kind in WHOLE_NUMBERS):
        raise ValueError(f"tensor {name!r} has the type {kind}")


def check_metadata(metadata: Mapping[str, Value]) -> None:
    """Raise ValueError for values that no model can have."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ValueError("general.architecture is missing")
    if len(architecture) > MAX_ARCHITECTURE:
        raise ValueError(f"general.architecture is {_shown(architecture)}…")
    _check_split(metadata)
    of_model = {
        key.removeprefix(f"{architecture}."): value
        for key, value in metadata.items()
        if key.startswith(f"{architecture}.")
    }
    for key, (minimum, maximum) in RANGES.items():
        value = of_model.get(key)
        if type(value) is not int:
            raise ValueError(f"{architecture}.{key} is missing: it is not a language model")
        if not minimum <= value <= maximum:
            raise ValueError(f"{architecture}.{key} is {value}")
    for key in EPSILONS:
        if not 0 <= _number(of_model, key) < 1:
            raise ValueError(f"{architecture}.{key} is {of_model[key]}")
    _check_experts(of_model)
    _check_heads(architecture, of_model)
    scaling = of_model.get("rope.scaling.type", "none")
    if scaling not in ROPE_SCALINGS:
        raise ValueError(f"{architecture}.rope.scaling.type is {_shown(scaling)}")
    if _count(of_model, "nextn_predict_layers") > _count(of_model, "block_count"):
        raise ValueError("it has more prediction layers than layers")


def _check_heads(architecture: str, of_model: Mapping[str, Value]) -> None:
    heads = _counts(of_model, "attention.head_count")
    kv_heads = (
        _counts(of_model, "attention.head_count_kv") if "attention.head_count_kv" in of_model else heads
    )
    if any(kv and n % kv for n, kv in zip(heads, kv_heads, strict=False)):
        raise ValueError(f"{architecture}.attention.head_count_kv does not divide the number of heads")
    if not heads or not heads[0]:  # recurrent
        return
    size = _count(of_model, "embedding_length") // heads[0]
    key = _count(of_model, "attention.key_length", size)
    value = _count(of_model, "attention.value_length", size)
    rotation = _count(of_model, "rope.dimension_count", key)
    if rotation > key or rotation % 2 or (architecture in ONE_HEAD_SIZE and not key == value == rotation):
        raise ValueError(
            f"{architecture} has keys of size {key}, values of size {value} and a rotation of {rotation}"
        )


def _check_split(metadata: Mapping[str, Value]) -> None:
    parts = metadata.get("split.count", 1)
    if type(parts) is not int or parts > 1:
        raise ValueError(f"it is one of {_shown(parts)} parts; merge them with llama-gguf-split --merge")


def _check_experts(of_model: Mapping[str, Value]) -> None:
    experts, groups = _count(of_model, "expert_count"), _count(of_model, "expert_group_count")
    used = max(_counts(of_model, "expert_used_count"), default=0)
    if not (used <= experts <= MAX_EXPERTS and (used > 0 or experts == 0)):
        raise ValueError(f"it uses {used} of {experts} experts")
    uneven = groups >= experts or experts % groups if groups else False
    if uneven or (groups > 1 and not 0 < _count(of_model, "expert_group_used_count") < groups):
        raise ValueError(f"it has {experts} experts in {groups} groups")


def _shown(value: Value) -> str:
    """Return as much of a value as fits in a line of the log."""
    return repr(value[:60] if isinstance(value, str | list) else value)[:60]


def _number(of_model: Mapping[str, Value], key: str) -> float:
    value = of_model.get(key, 0)
    if not isinstance(value, int | float):
        raise ValueError(f"{key} is {_shown(value)}")
    return value


def _count(of_model: Mapping[str, Value], key: str, default: int = 0) -> int:
    value = of_model.get(key, default)
    if type(value) is not int or value < 0:
        raise ValueError(f"{key} is {_shown(value)}")
    return value


def _counts(of_model: Mapping[str, Value], key: str) -> list[int]:
    """Return one number for each layer, whether the file has an array or one number for all."""
    value = of_model.get(key, 0)
    values = value if isinstance(value, list) else [value] * _count(of_model, "block_count")
    counts = [v for v in values if type(v) is int and v >= 0]
    if len(counts) != len(values):
        raise ValueError(f"{key} is {_shown(value)}")
    return counts
