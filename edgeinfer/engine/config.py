"""How a model is loaded and run: what the plan decides and the worker obeys."""

from __future__ import annotations

from typing import Literal

import msgspec

Layout = Literal["streams", "unified"]
"""Of the KV cache: a reserved stream of cells for each sequence, or one pool that all share."""

MOST_SEQUENCES = 256
"""llama.cpp's own limit."""

KVType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]


def slots(layout: Layout, parallel: int) -> int:
    """In streams each slot costs ctx cells, so but one is kept beside those that run; in a pool it costs nothing."""
    return min(parallel + 1 if layout == "streams" else max(16, 4 * parallel), MOST_SEQUENCES)


class EngineConfig(msgspec.Struct, frozen=True):
    """Resolved: nothing in here means "auto".

    Attributes:
        model: path of the GGUF file.
        name: what the API calls the model.
        ctx: tokens one sequence may hold, prompt and answer together.
        parallel: sequences that run at once.
        layout: of the KV cache; "streams" reserves parallel x ctx cells.
        cells: size of the whole KV cache in tokens.
        threads: compute threads.
        cpus: logical CPUs the worker keeps to; empty: wherever the system puts it.
        batch: tokens in one decode call at most; also the longest prefill chunk.
        ubatch: tokens llama.cpp computes at once.
        flash_attention: llama.cpp's fused attention.
        kv_type: element type of the KV cache.
        gpu_layers: layers placed on the GPU; -1 is all.
        mmap: map the file rather than read it.
        repack: let llama.cpp keep a second, faster copy of quantized weights.
        step_ms: while answers are streaming, a step with prefill in it should take no longer.
    """

    model: str
    name: str
    ctx: int = 4096
    parallel: int = 8
    layout: Layout = "streams"
    cells: int = 32768
    threads: int = 1
    cpus: tuple[int, ...] = ()
    batch: int = 512
    ubatch: int = 128
    flash_attention: bool = False
    kv_type: KVType = "f16"
    gpu_layers: int = 0
    mmap: bool = True
    repack: bool = True
    step_ms: float = 250.0

    @property
    def slots(self) -> int:
        """Sequences that the KV cache holds, running and kept ones together."""
        return slots(self.layout, self.parallel)
