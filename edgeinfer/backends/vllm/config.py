"""How vLLM loads and runs a model: the plan decides it, and `vllm serve` is told."""

from __future__ import annotations

from typing import Literal

import msgspec

VllmDtype = Literal["auto", "float16", "bfloat16", "float32"]


class VllmConfig(msgspec.Struct, frozen=True):
    """vLLM's settings.

    Attributes:
        model: path of the model's folder.
        name: the model's name in the API.
        command: the program `vllm`, with its path.
        ctx: tokens that one conversation may hold.
        parallel: answers that are computed at once.
        dtype: type that weights are computed in; "auto" is that of the files.
        cards: numbers of the cards to use, as nvidia-smi counts them; empty for a CPU.
        gpu_memory: the share of each card's memory that vLLM takes.
        kv_cache_mb: megabytes of KV cache on a CPU.
        compiles: vLLM compiles the model's graph, which takes a minute at each start, and makes answers faster.
    """

    model: str
    name: str
    command: str
    ctx: int
    parallel: int
    dtype: VllmDtype = "auto"
    cards: tuple[int, ...] = ()
    gpu_memory: float = 0.9
    kv_cache_mb: int = 0
    compiles: bool = True
