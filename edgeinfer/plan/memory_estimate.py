"""Predicts how much memory a model takes, from its header and its configuration: arithmetic, no measurement.

The parts are the weights as they are in the file, copies of those that are repacked, the KV cache, the buffers of
one computation, and our processes. llama.cpp's own figures are met to a few percent (`scripts/bench_memory` compares
them with running daemons).
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from edgeinfer.backends.llama_cpp.config import KVType, LlamaConfig
from edgeinfer.gguf.header import Header
from edgeinfer.plan.repack import repacked_bytes
from edgeinfer.plan.transformer_shape import TransformerShape, transformer_shape

KV_BYTES: dict[str, float] = {"f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Type of the KV cache -> bytes of one element."""

DAEMON = 115_000_000
"""Bytes of the processes that all models share: daemon 57 MB, template process 24 MB, grammar process 33 MB."""

WORKER = 64_000_000
"""Bytes of a worker before it has loaded its model: Python, numpy, llama.cpp's libraries, llguidance."""

VOCABULARY_TOKEN = 620
"""Bytes of one vocabulary token in the worker: llama.cpp's tables, ours, llguidance's trie."""

EMBEDDED_AT_ONCE = 128
"""Input tokens that are embedded in one batch, each with its logits."""

GPU_HOST = {"cuda": 250_000_000, "rocm": 250_000_000, "vulkan": 100_000_000, "metal": 50_000_000}
GPU_DRIVER = {"cuda": 300_000_000, "rocm": 300_000_000, "vulkan": 100_000_000, "metal": 0}
"""Bytes that GPU libraries take in the worker and on the GPU: estimates, never measured here."""


class MemoryEstimate(msgspec.Struct, frozen=True):
    """Bytes that one model takes, and the processes that serve it.

    Attributes:
        weights: weights in RAM as they are in the file, mapped or read.
        repacked: copies of weights in a faster layout.
        stale: mapped pages of weights whose copy is used. They are resident, but dropped first when memory is short.
        kv: KV cache in RAM.
        compute: buffers of one computation, and the logits.
        worker: the rest of the model's own process: Python, libraries, the vocabulary.
        daemon: processes that all models share; 0 for a model that is planned beside loaded ones.
        gpu_weights, gpu_kv, gpu_compute: memory on the GPU.
        shared: GPU memory is RAM.
        embeddings: memory that a chat model takes on top, from its first embeddings request on.
        ram_cache: memory that it takes on top, at most, for prefixes that had to make room in the KV cache.
        draft, gpu_draft: all that its draft model takes, in RAM and on the GPU.
    """

    weights: int
    repacked: int = 0
    stale: int = 0
    kv: int = 0
    compute: int = 0
    worker: int = 0
    daemon: int = 0
    gpu_weights: int = 0
    gpu_kv: int = 0
    gpu_compute: int = 0
    shared: bool = False
    embeddings: int = 0
    ram_cache: int = 0
    draft: int = 0
    gpu_draft: int = 0

    @property
    def gpu(self) -> int:
        return self.gpu_weights + self.gpu_kv + self.gpu_compute + self.gpu_draft

    @property
    def processes(self) -> int:
        """RAM of our processes apart from weights and buffers."""
        return self.worker + self.daemon

    @property
    def ram(self) -> int:
        """RAM that the model needs, without the processes that all models share."""
        own = self.weights + self.repacked + self.kv + self.compute + self.worker + self.draft
        return own + (self.gpu if self.shared else 0)

    @property
    def model(self) -> int:
        """Memory that the model needs in RAM and on the GPU; `memory_limit_mb` limits its sum over all models."""
        return self.ram + (0 if self.shared else self.gpu)

    @property
    def needed(self) -> int:
        """RAM that must be available."""
        return self.ram + self.daemon

    @property
    def total(self) -> int:
        """Resident RAM, as RSS counts it."""
        return self.needed + self.stale


def estimate(
    header: Header | None,
    config: LlamaConfig,
    isa: Collection[str] = (),
    *,
    api: str | None = None,
    shared: bool = False,
    draft: Header | None = None,
) -> MemoryEstimate:
    """Predict the memory that `config` takes.

    Args:
        isa: instruction sets that llama.cpp uses; they decide which weights are repacked.
        api: API of the GPU that holds `config.gpu_layers`.
        shared: the GPU shares its memory with the CPU.
        draft: header of `config.draft_model`.
    """
    if draft and config.draft_model:
        memory = estimate(
            header, msgspec.structs.replace(config, draft_model=None), isa, api=api, shared=shared
        )
        return _with_draft(memory, draft, config, isa)
    ram_cache = config.ram_cache_mb * 1_000_000
    if header is None:
        return MemoryEstimate(0, worker=WORKER, daemon=DAEMON, ram_cache=ram_cache)
    shape = transformer_shape(header)
    if config.reranks:
        config = _reading_pairs(config)
    kv = kv_token_bytes(header, config.kv_type) * cells(config) if shape.generates else 0
    compute, output, work = compute_bytes(shape, config)
    worker = WORKER + VOCABULARY_TOKEN * shape.vocabulary
    weights = _weights(header, config, isa)
    embeddings = 0
    if shape.generates:
        logits = 2 * EMBEDDED_AT_ONCE * shape.vocabulary * 4
        if config.reranks:
            output += logits
        else:
            embeddings = (
                kv_token_bytes(header, "f16") * padded(min(config.ctx, shape.context or config.ctx)) + logits
            )
    if not config.gpu_layers:
        return msgspec.structs.replace(
            weights,
            kv=kv,
            compute=compute + output + work,
            worker=worker,
            daemon=DAEMON,
            embeddings=embeddings,
            ram_cache=ram_cache,
        )
    share = min(1.0, layers_on_gpu(shape, config.gpu_layers) / max(shape.layers, 1))
    return msgspec.structs.replace(
        weights,
        kv=round(kv * (1 - share)),
        # Layers left on the CPU need at most the buffers of the whole model.
        compute=output + (0 if share == 1 else compute + work),
        worker=worker + GPU_HOST.get(api or "", 0),
        daemon=DAEMON,
        gpu_kv=round(kv * share),
        gpu_compute=compute + GPU_DRIVER.get(api or "", 0),
        shared=shared,
        embeddings=embeddings,
        ram_cache=ram_cache,
    )


def _with_draft(
    memory: MemoryEstimate, draft: Header, config: LlamaConfig, isa: Collection[str]
) -> MemoryEstimate:
    """Return `memory` with what the draft model takes in the same process."""
    own = estimate(draft, config.for_draft_model(), isa)
    return msgspec.structs.replace(
        memory,
        draft=own.weights + own.repacked + own.kv + own.compute + own.worker - WORKER,
        gpu_draft=own.gpu,
        stale=memory.stale + own.stale,
    )


def _reading_pairs(config: LlamaConfig) -> LlamaConfig:
    """Return how a reranker reads: one pair at a time, in chunks if it can."""
    return msgspec.structs.replace(
        config,
        parallel=1,
        layout="unified",
        cells=config.ctx,
        kv_type="f16",
        ubatch=EMBEDDED_AT_ONCE,
        flash_attention=False,
    )


def _weights(header: Header, config: LlamaConfig, isa: Collection[str]) -> MemoryEstimate:
    """Return the memory of the weights and their copies."""
    if not header.tensors:  # predicted or truncated
        on_card = header.size if config.gpu_layers else 0
        return MemoryEstimate(header.size - on_card, gpu_weights=on_card)
    layers = header.number("block_count") or 0
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    weights = repacked = stale = gpu = 0
    for tensor in header.tensors:
        embedding = tensor.name == "token_embd.weight"
        if on_gpu(tensor.name, layers, config.gpu_layers):
            gpu += tensor.nbytes
            continue
        copy = repacked_bytes(tensor, isa) if config.repack else 0
        if embedding:
            # Its rows are read as they are; if it is the output matrix too, llama.cpp makes a second tensor for that.
            weights += tensor.nbytes
            if tied and config.gpu_layers:
                gpu += tensor.nbytes
            elif tied:
                repacked += copy
        elif copy:
            repacked += copy
            stale += tensor.nbytes if config.mmap else 0
        else:
            weights += tensor.nbytes
    return MemoryEstimate(weights, repacked, stale, gpu_weights=gpu)


def on_gpu(tensor: str, layers: int, gpu_layers: int) -> bool:
    """Tell whether llama.cpp puts a tensor on the GPU.

    The output comes first, then layers from the last to the first; the token embedding stays on the CPU.
    """
    if not gpu_layers or tensor.startswith("token_embd."):
        return False
    if gpu_layers < 0 or gpu_layers > layers:
        return True
    parts = tensor.split(".")
    if parts[0] != "blk" or not parts[1].isdigit():
        return True
    return int(parts[1]) >= layers + 1 - gpu_layers


def layers_on_gpu(shape: TransformerShape, gpu_layers: int) -> int:
    """Return how many of the repeating layers, and their KV caches, are on the GPU."""
    return shape.layers if gpu_layers < 0 else min(shape.layers, max(0, gpu_layers - 1))


def kv_token_bytes(header: Header | None, kv_type: KVType) -> int:
    """Return the bytes of KV cache that one token takes.

    They are KV heads of all layers x (key + value) x element. Layers with a sliding window count in full: the plan does not rely on what they save.
    """
    shape = transformer_shape(header)
    return round(sum(shape.kv_heads) * (shape.key + shape.value) * KV_BYTES[kv_type])


def cells(config: LlamaConfig) -> int:
    """Return the tokens that llama.cpp reserves KV cache for."""
    return config.slots * padded(config.ctx) if config.layout == "streams" else padded(config.cells)


def padded(n: int) -> int:
    """Round a context up to a multiple of 256, as llama.cpp does."""
    return (n + 255) // 256 * 256


def compute_bytes(shape: TransformerShape, config: LlamaConfig) -> tuple[int, int, int]:
    """Return the bytes of llama.cpp's compute buffer, its output buffer, and the CPU's scratch space.

    The compute buffer holds the widest point of the graph for a full ubatch: attention scores (without flash
    attention), the feed-forward network, or the logits. The numbers of other activations are those that llama.cpp
    reports for qwen2 and llama; architectures differ by a few.
    """
    tokens = min(config.ubatch, config.batch)
    visible = padded(config.ctx) if config.layout == "streams" else padded(config.cells)
    if config.layout == "streams":
        tokens = -(-tokens // config.slots) * config.slots  # a ubatch has as many tokens of each stream
    if not shape.generates:
        tokens = visible = padded(min(config.ctx, shape.context or config.ctx))
    queries = shape.heads * shape.key
    keys_and_values = max(shape.kv_heads, default=0) * (shape.key + shape.value)
    attention = 3 * shape.embedding + 2 * queries + keys_and_values
    feed_forward = 3 * shape.feed_forward + 4 * shape.embedding
    mask = work = 0
    if config.flash_attention:
        mask = visible * tokens // 2  # in f16
    else:
        attention += visible * (shape.heads + 1)
        work = 2 * visible * tokens * shape.heads  # the scores once more, in the values' type
    logits = config.outputs * (shape.vocabulary + shape.embedding) + tokens * shape.embedding
    compute = 4 * max(tokens * max(attention, feed_forward) + mask, logits)
    output = 4 * config.outputs * shape.vocabulary
    return compute, output, max(work, 2 * tokens * shape.feed_forward)
