"""How llama.cpp loads and runs a model: the plan decides it and the worker obeys."""

from __future__ import annotations

from typing import Literal

from edgeinfer.engine.config import EngineConfig

KVType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]


class LlamaConfig(EngineConfig, frozen=True):
    """The engine's settings, and llama.cpp's.

    Attributes:
        model: path of the GGUF file.
        name: the model's name in the API.
        threads: compute threads.
        cpus: logical CPUs that the worker is pinned to; empty leaves that to the system.
        ubatch: tokens that llama.cpp computes at once.
        flash_attention: llama.cpp's fused attention.
        kv_type: element type of the KV cache.
        gpu_layers: layers placed on the GPU; -1 is all.
        main_gpu: number of the only card that is used; None spreads layers over all of them.
        mmap: map the file rather than read it.
        repack: let llama.cpp keep a second, faster copy of quantized weights.
        reranks: score pairs of a query and a document rather than generate or embed.
    """

    model: str
    name: str
    threads: int = 1
    cpus: tuple[int, ...] = ()
    ubatch: int = 128
    flash_attention: bool = False
    kv_type: KVType = "f16"
    gpu_layers: int = 0
    main_gpu: int | None = None
    mmap: bool = True
    repack: bool = True
    reranks: bool = False
