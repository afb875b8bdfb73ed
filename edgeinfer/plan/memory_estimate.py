"""How much memory a model takes, from its header and its configuration: arithmetic, no measurement.

llama.cpp's own figures are met to a few percent (`scripts/bench_memory` compares them with what running daemons
take): weights as they lie in the file, copies of those that are repacked, the KV cache, the buffers of one
computation, and our processes.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from edgeinfer.backends.llama_cpp.config import KVType, LlamaConfig
from edgeinfer.gguf.header import Header
from edgeinfer.plan.repack import repacked_bytes
from edgeinfer.plan.transformer_shape import TransformerShape, network

KV_BYTES: dict[str, float] = {"f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Of one cache element."""

DAEMON = 115_000_000
"""The daemon, the template process and the grammar process: 57, 24 and 33 MB resident, however many models there are."""

WORKER = 64_000_000
"""A worker before it has a model: Python, numpy, llama.cpp's libraries, llguidance. Each model has its own."""

TOKEN = 620
"""What a token of the vocabulary takes in the worker: llama.cpp's tables, ours, llguidance's trie."""

EMBEDDED_AT_ONCE = 128
"""Tokens of an input that are embedded at once, each with its logits."""

GPU_HOST = {"cuda": 250_000_000, "rocm": 250_000_000, "vulkan": 100_000_000, "metal": 50_000_000}
GPU_DRIVER = {"cuda": 300_000_000, "rocm": 300_000_000, "vulkan": 100_000_000, "metal": 0}
"""What the GPU's libraries take of the worker's memory, and of the GPU's: estimates, never measured here."""


class MemoryEstimate(msgspec.Struct, frozen=True):
    """Bytes that one model takes, and the processes that serve it.

    Attributes:
        weights: in RAM as they lie in the file, mapped or read.
        repacked: copies of weights in a faster layout.
        stale: mapped pages of weights whose copy is used. They are resident, and the first to go when memory gets
            short.
        kv: the KV cache in RAM.
        compute: buffers of one computation, and the logits.
        worker: the rest of the model's own process: Python, libraries, the vocabulary.
        daemon: the processes that all models share; 0 for a model that is planned beside loaded ones.
        gpu_weights, gpu_kv, gpu_compute: on the GPU.
        shared: the GPU's memory is the RAM.
        embeddings: what a chat model takes beyond all of this once it is asked for embeddings.
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

    @property
    def gpu(self) -> int:
        return self.gpu_weights + self.gpu_kv + self.gpu_compute

    @property
    def processes(self) -> int:
        """RAM of our processes that is neither weights nor buffers."""
        return self.worker + self.daemon

    @property
    def ram(self) -> int:
        """RAM that the model itself must have, without the processes that all models share."""
        own = self.weights + self.repacked + self.kv + self.compute + self.worker
        return own + (self.gpu if self.shared else 0)

    @property
    def model(self) -> int:
        """Memory that the model itself must have, in RAM and on a GPU; `memory_limit_mb` limits the sum of these."""
        return self.ram + (0 if self.shared else self.gpu)

    @property
    def needed(self) -> int:
        """RAM that must be there."""
        return self.ram + self.daemon

    @property
    def total(self) -> int:
        """RAM that is resident, as RSS counts it."""
        return self.needed + self.stale


def estimate(
    header: Header | None,
    config: LlamaConfig,
    isa: Collection[str] = (),
    *,
    api: str | None = None,
    shared: bool = False,
) -> MemoryEstimate:
    """The memory that `config` takes.

    Args:
        isa: instruction sets that llama.cpp uses here; they decide what is repacked.
        api: of the GPU that has `config.gpu_layers`, and whether its memory is `shared` with the CPU.
    """
    if header is None:
        return MemoryEstimate(0, worker=WORKER, daemon=DAEMON)
    net = network(header)
    kv = kv_token_bytes(header, config.kv_type) * cells(config) if net.generates else 0
    compute, output, work = compute_bytes(net, config)
    worker = WORKER + TOKEN * net.vocabulary
    weights = _weights(header, config, isa)
    embeddings = 0
    if net.generates:
        logits = 2 * EMBEDDED_AT_ONCE * net.vocabulary * 4
        embeddings = (
            kv_token_bytes(header, "f16") * padded(min(config.ctx, net.context or config.ctx)) + logits
        )
    if not config.gpu_layers:
        return msgspec.structs.replace(
            weights,
            kv=kv,
            compute=compute + output + work,
            worker=worker,
            daemon=DAEMON,
            embeddings=embeddings,
        )
    share = min(1.0, layers_on_gpu(net, config.gpu_layers) / max(net.layers, 1))
    return msgspec.structs.replace(
        weights,
        kv=round(kv * (1 - share)),
        # What is left on the CPU takes its part of one token's way, at most.
        compute=output + (0 if share == 1 else compute + work),
        worker=worker + GPU_HOST.get(api or "", 0),
        daemon=DAEMON,
        gpu_kv=round(kv * share),
        gpu_compute=compute + GPU_DRIVER.get(api or "", 0),
        shared=shared,
        embeddings=embeddings,
    )


def _weights(header: Header, config: LlamaConfig, isa: Collection[str]) -> MemoryEstimate:
    """The weights alone, where they lie and how often."""
    if not header.tensors:  # a header that does not list them
        there = header.size if config.gpu_layers else 0
        return MemoryEstimate(header.size - there, gpu_weights=there)
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
            # Rows are read from it as it is; where it is the output matrix too, that is a tensor of its own.
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
    """Whether llama.cpp puts a tensor on the GPU: the output first, then layers from the last to the first; the
    token embedding never.
    """
    if not gpu_layers or tensor.startswith("token_embd."):
        return False
    if gpu_layers < 0 or gpu_layers > layers:
        return True
    parts = tensor.split(".")
    if parts[0] != "blk" or not parts[1].isdigit():
        return True
    return int(parts[1]) >= layers + 1 - gpu_layers


def layers_on_gpu(net: TransformerShape, gpu_layers: int) -> int:
    """Of the repeating layers, whose KV cache goes with them."""
    return net.layers if gpu_layers < 0 else min(net.layers, max(0, gpu_layers - 1))


def kv_token_bytes(header: Header | None, kv_type: KVType) -> int:
    """Bytes of KV cache that one token takes: KV heads of all layers x (key + value) x element.

    Layers with a sliding window count as the others: what they save is not relied on.
    """
    net = network(header)
    return round(sum(net.kv_heads) * (net.key + net.value) * KV_BYTES[kv_type])


def cells(config: LlamaConfig) -> int:
    """Tokens that llama.cpp reserves the KV cache for."""
    return config.slots * padded(config.ctx) if config.layout == "streams" else padded(config.cells)


def padded(n: int) -> int:
    """llama.cpp rounds a context up to a multiple of 256."""
    return (n + 255) // 256 * 256


def compute_bytes(net: TransformerShape, config: LlamaConfig) -> tuple[int, int, int]:
    """Bytes of llama.cpp's compute buffer, of its output buffer, and of the CPU's scratch space.

    The compute buffer holds the widest point of the graph for a full ubatch: attention scores (without flash
    attention), the feed-forward network, or the logits. The counts of activations beside these are those
    that llama.cpp reports for qwen2 and llama; architectures differ by a few.
    """
    tokens = min(config.ubatch, config.batch)
    visible = padded(config.ctx) if config.layout == "streams" else padded(config.cells)
    if config.layout == "streams":
        tokens = -(-tokens // config.slots) * config.slots  # a ubatch has as many tokens of each stream
    if not net.generates:
        tokens = visible = padded(min(config.ctx, net.context or config.ctx))
    queries = net.heads * net.key
    keys_and_values = max(net.kv_heads, default=0) * (net.key + net.value)
    attention = 3 * net.embedding + 2 * queries + keys_and_values
    feed_forward = 3 * net.feed_forward + 4 * net.embedding
    mask = work = 0
    if config.flash_attention:
        mask = visible * tokens // 2  # of f16
    else:
        attention += visible * (net.heads + 1)
        work = 2 * visible * tokens * net.heads  # the scores once more, in the values' type
    logits = config.slots * (net.vocabulary + net.embedding) + tokens * net.embedding
    compute = 4 * max(tokens * max(attention, feed_forward) + mask, logits)
    output = 4 * config.slots * net.vocabulary
    return compute, output, max(work, 2 * tokens * net.feed_forward)
