"""Predicts which weights llama.cpp copies into a layout that is faster to compute with.

Follows ggml_repack_get_optimal_repack_type (ggml-cpu/repack.cpp) and ggml_backend_amx_get_alloc_size (ggml-cpu/amx)
of llama.cpp as of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

from collections.abc import Collection

from edgeinfer.gguf.header import Tensor

AMX: dict[str, tuple[int, int]] = {
    "Q4_0": (32, 0),
    "Q4_1": (32, 0),
    "Q8_0": (32, 4),
    "Q4_K": (256, 4),
    "Q5_K": (256, 4),
    "Q6_K": (256, 0),
    "IQ4_XS": (256, 2),
    "F16": (32, 0),
}
"""Type -> number that the columns must be a multiple of, and bytes that each block grows by."""

AVX2 = {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8, "MXFP4": 8}
AVX512 = AVX2 | {"Q2_K": 8}
DOTPROD = {"Q4_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8, "IQ4_NL": 4, "MXFP4": 4, "Q8_0": 4}
"""Type -> number that the rows must be a multiple of."""


def repacked_bytes(tensor: Tensor, isa: Collection[str]) -> int:
    """Return the size of a weight matrix's copy; 0 if it is used as it is in the file."""
    if len(tensor.shape) < 2:
        return 0
    columns, rows = tensor.shape[:2]
    if "amx" in isa and len(tensor.shape) == 2 and tensor.type in AMX:
        block, growth = AMX[tensor.type]
        if columns % block == 0 and rows % 32 == 0:
            return tensor.nbytes + columns // block * rows * growth
    if "avx512" in isa:
        types = AVX512
    elif "avx2" in isa:
        types = AVX2
    elif "dotprod" in isa or "i8mm" in isa:
        types = DOTPROD
    else:
        return 0
    return tensor.nbytes if rows % types.get(tensor.type, rows + 1) == 0 else 0
