"""Predicts the type that llama.cpp's quantizer gives a tensor: llama-quant.cpp without an importance matrix."""

from __future__ import annotations

import msgspec

from edgeinfer.gguf.ggml_types import BY_NAME

BASE_TYPE = {
    "F32": "F32",
    "F16": "F16",
    "BF16": "BF16",
    "Q4_0": "Q4_0",
    "Q8_0": "Q8_0",
    "IQ4_NL": "IQ4_NL",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "Q6_K": "Q6_K",
}
"""The type that most tensors of a quantization have."""

SMALLER_BLOCKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""Replacement types for rows that are not a multiple of 256 elements."""


UNQUANTIZED = frozenset(("shortconv.conv.weight", "token_types.weight", "ffn_gate_inp.weight"))
"""Matrices that stay as they are."""


class ModelTraits(msgspec.Struct, frozen=True):
    """Describes a whole model as far as the rules depend on it.

    Attributes:
        attention_layers: number of layers with attention.
        group: query heads per KV head in the first layer; 0 if it has no attention.
        tied: the output matrix is the token embedding.
        pure: quantized with llama-quantize's option of that name.
    """

    layers: int
    attention_layers: int
    group: int
    tied: bool
    pure: bool = False


def tensor_type(quant: str, model: ModelTraits, name: str, shape: tuple[int, ...], index: int) -> str:
    """Return the type of a tensor; `index` counts the tensors of this name, layer by layer."""
    if len(shape) == 1 or name in UNQUANTIZED:
        return "F32"
    base = BASE_TYPE[quant]
    if BY_NAME[base].block == 1:
        return base
    if model.pure:
        return _fitting(base, shape[0])
    return _fitting(_wanted(quant, base, model, name, shape[0], index), shape[0])


def _wanted(quant: str, base: str, model: ModelTraits, name: str, row: int, index: int) -> str:
    if name == "output.weight" or (model.tied and name == "token_embd.weight"):
        return "Q8_0" if base == "Q8_0" or row % BY_NAME[base].block else "Q6_K"
    if name in ("attn_v.weight", "attn_qkv.weight"):
        if quant in ("Q4_K_M", "Q5_K_M") and _more_bits(index, model.attention_layers):
            return "Q6_K"
        if (quant == "Q4_K_S" and index < 4) or (quant == "IQ4_NL" and model.group >= 4):
            return "Q5_K"
    if name in ("ffn_down.weight", "ffn_down_exps.weight"):
        if quant in ("Q4_K_M", "Q5_K_M") and _more_bits(index, model.layers):
            return "Q6_K"
        if quant in ("Q4_K_S", "IQ4_NL") and index < model.layers // 8:
            return "Q5_K"
    return base


def _more_bits(index: int, layers: int) -> bool:
    return index < layers // 8 or index >= 7 * layers // 8 or (index - layers // 8) % 3 == 2


def _fitting(kind: str, row: int) -> str:
    if row % BY_NAME[kind].block == 0:
        return kind
    kind = SMALLER_BLOCKS.get(kind, kind)
    return kind if row % BY_NAME[kind].block == 0 else "F16"
