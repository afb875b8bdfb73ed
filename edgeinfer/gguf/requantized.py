"""Predicts the header of another quantization of a model from the header of one."""

from __future__ import annotations

import math
import re
from collections import Counter

from msgspec.structs import replace

from edgeinfer.gguf.ggml_types import row_bytes
from edgeinfer.gguf.header import ALIGNMENT, Header, Tensor
from edgeinfer.gguf.quant_rules import BASE_TYPE, ModelTraits, tensor_type

IN_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


def requantized(header: Header, quant: str) -> Header | None:
    """Return the header that llama.cpp's quantizer would write for `quant`; None if its rules are not known."""
    if quant not in BASE_TYPE:
        return None
    names = [tensor.name for tensor in header.tensors]
    heads, kv_heads = header.number("attention.head_count"), header.per_layer("attention.head_count_kv")
    model = ModelTraits(
        layers=header.number("block_count") or 0,
        attention_layers=sum(name.endswith(("attn_v.weight", "attn_qkv.weight")) for name in names),
        group=(heads or 1) // max([1, *(kv_heads or [])]),
        tied="output.weight" not in names,
    )
    counts: Counter[str] = Counter()
    tensors = []
    end = header.size - sum(_padded(tensor.nbytes) for tensor in header.tensors)
    for _, name, tensor in sorted(map(_placed, header.tensors), key=lambda placed: placed[0]):
        kind = tensor_type(quant, model, name, tensor.shape, counts[name])
        counts[name] += 1
        nbytes = row_bytes(kind, tensor.shape[0]) * math.prod(tensor.shape[1:])
        tensors.append(replace(tensor, type=kind, offset=end, nbytes=nbytes))
        end += _padded(nbytes)
    return replace(header, tensors=tensors, size=end)


def _placed(tensor: Tensor) -> tuple[int, str, Tensor]:
    """Return a tensor's layer, its name within the layer, and the tensor; layer -1 for all outside of them."""
    match = IN_LAYER.fullmatch(tensor.name)
    return (int(match[1]), match[2], tensor) if match else (-1, tensor.name, tensor)


def _padded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
