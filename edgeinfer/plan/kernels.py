"""Says what the kernels of `scripts/llama/x86/` compute on this machine."""

from __future__ import annotations

from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.speed import instruction_sets
from edgeinfer.plan.transformer_shape import transformer_shape

VECTORS = frozenset(("avx2", "fma", "f16c"))
"""Instruction sets without which they leave the work to llama.cpp's own."""

LANES = 16
"""Numbers in the widest vector. Attention is left to llama.cpp where those of a head do not fill such vectors."""


def has_kernels(profile: HardwareProfile) -> bool:
    """Return whether llama.cpp was built with them, for a processor like this one."""
    return bool(profile.llama and profile.llama.row_exact) and instruction_sets(profile) >= VECTORS


def computes_attention(profile: HardwareProfile, header: Header | None) -> bool:
    """Return whether they compute a model's flash attention over a KV cache of f16."""
    shape = transformer_shape(header)
    if not (has_kernels(profile) and shape.generates and shape.key and shape.value):
        return False
    return shape.key % LANES == 0 and shape.value % LANES == 0
