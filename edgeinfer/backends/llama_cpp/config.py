"""How llama.cpp loads and runs a model: the plan decides it and the worker obeys."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

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
        flash_attention: fused attention, by our kernel or llama.cpp's.
        kv_type: element type of the KV cache.
        gpu_layers: layers placed on the GPU; -1 is all.
        main_gpu: number of the only card that is used; None spreads layers over all of them.
        mmap: map the file rather than read it.
        repack: let llama.cpp keep a second, faster copy of quantized weights.
        reranks: score pairs of a query and a document rather than generate or embed.
        draft_model: path of the GGUF file of a smaller model that guesses tokens; None guesses without one.
        deterministic: it is asked for that `determinism` is not "none", whatever that costs.
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
    draft_model: str | None = None
    deterministic: bool = False

    @property
    def why_rows_differ(self) -> str | None:
        """Why a token's logits depend on what is computed with it even with our kernels; None if they do not."""
        if self.gpu_layers:
            return "a GPU computes"
        if self.layout != "streams":
            return "all answers share one pool of the KV cache"
        if self.kv_type != "f16":
            return f"the KV cache is {self.kv_type}"
        return None if self.repack else "the weights are not repacked"

    def for_draft_model(self) -> LlamaConfig:
        """How the draft model is loaded: with as many sequences and cells, on the GPU if this one is there entirely."""
        return replace(
            self,
            model=self.draft_model or self.model,
            draft_model=None,
            gpu_layers=-1 if self.gpu_layers == -1 else 0,
            ram_cache_mb=0,
        )
