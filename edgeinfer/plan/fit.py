"""Searches for the best configuration that fits into a memory budget."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator

import msgspec
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import KVType, LlamaConfig
from edgeinfer.engine.config import Layout, num_slots
from edgeinfer.gguf.header import Header
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.memory_estimate import MemoryEstimate, estimate, kv_token_bytes
from edgeinfer.plan.transformer_shape import transformer_shape
from edgeinfer.settings import Settings

MAX_KV_SHARE = 0.25
"""Share of the usable memory that a KV cache may take; the smallest possible cache may take more."""

MAX_PARALLEL = 8

QUANTIZED_KV = ("q8_0", "q4_0")
"""KV cache types that only flash attention can read."""

MAX_MAPPED_COPIES = 0.25
"""Share of repacked weights above which the file is read instead of mapped."""

MIN_GPU_SHARE = 0.5
"""Share of the layers below which a model is not split between GPU and CPU."""


class Fit(msgspec.Struct, frozen=True):
    """A configuration with its memory. `fits` is None where the machine's memory is unknown."""

    config: LlamaConfig
    memory: MemoryEstimate
    fits: bool | None


def fit(
    base: LlamaConfig,
    header: Header | None,
    settings: Settings,
    budget: MemoryBudget,
    isa: Collection[str],
    gpu: Gpu | None,
    *,
    daemon_runs: bool = False,
) -> Fit:
    """Return the best configuration that fits, or the one that exceeds the budget least.

    Args:
        base: its `flash_attention` tells whether a kernel of ours computes that over a KV cache of f16.
        daemon_runs: the processes that all models share run already, so the budget does not hold them.
    """
    closest: Fit | None = None
    for config in configurations(base, header, settings, budget, isa, gpu):
        memory = memory_beside(config, header, isa, gpu, daemon_runs=daemon_runs)
        if not any(budget.excess(memory)):
            return Fit(config, memory, None if budget.ram is None else True)
        if closest is None or budget.excess(memory) < budget.excess(closest.memory):
            closest = Fit(config, memory, False)
    assert closest is not None
    return closest


def memory_beside(
    config: LlamaConfig,
    header: Header | None,
    isa: Collection[str],
    gpu: Gpu | None,
    *,
    daemon_runs: bool,
    draft: Header | None = None,
) -> MemoryEstimate:
    """Return the memory that a configuration adds to what runs already; `draft`: the header of its draft model."""
    api, shared = gpu.api if gpu else None, bool(gpu and gpu.shared)
    memory = estimate(header, config, isa, api=api, shared=shared, draft=draft)
    return replace(memory, daemon=0) if daemon_runs else memory


def configurations(
    base: LlamaConfig,
    header: Header | None,
    settings: Settings,
    budget: MemoryBudget,
    isa: Collection[str],
    gpu: Gpu | None,
) -> Iterator[LlamaConfig]:
    """Yield configurations, the best first.

    They give up, in this order: concurrent answers, streams, the exact KV cache, repacked weights, layers on the GPU.
    """
    kv_types: tuple[KVType, ...] = (settings.kv_type,) if settings.kv_type else ("f16", "q8_0")
    if settings.flash_attention is False:
        kv_types = kv_types[:1]
    for layers in _gpu_layers(base, header, settings, budget, gpu):
        placed = replace(base, gpu_layers=layers)
        for loaded in _loading(placed, header, isa, gpu):
            for kv_type in kv_types:
                yield from _caches(replace(loaded, kv_type=kv_type), header, settings, budget)


def _gpu_layers(
    base: LlamaConfig, header: Header | None, settings: Settings, budget: MemoryBudget, gpu: Gpu | None
) -> Iterator[int]:
    """Yield all layers; then, if more than half fit with the smallest exact KV cache, as many; then none."""
    if settings.gpu_layers is not None:
        yield settings.gpu_layers
        return
    if gpu is not None and header is not None:
        yield -1
        if not gpu.shared:  # with shared memory, the layers left on the CPU would take the same memory
            layers = transformer_shape(header).layers
            smallest = _with_cache(
                base, settings, "unified", settings.parallel or 1, settings.cells or base.ctx
            )

            def exceeds(count: int) -> bool:
                placed = replace(smallest, gpu_layers=count)
                return budget.gpu is not None and estimate(header, placed, api=gpu.api).gpu > budget.gpu

            max_layers = bisect.bisect_left(range(layers + 1), True, key=exceeds) - 1
            if max_layers > MIN_GPU_SHARE * layers:
                yield max_layers
    yield 0


def _loading(
    base: LlamaConfig, header: Header | None, isa: Collection[str], gpu: Gpu | None
) -> Iterator[LlamaConfig]:
    """Yield the configuration with repacked weights, then, if there are any, without."""
    memory = estimate(header, base, isa)
    few_copies = memory.repacked <= MAX_MAPPED_COPIES * (memory.repacked + memory.weights)
    yield replace(base, mmap=few_copies or bool(gpu and gpu.shared))
    if memory.repacked:
        yield replace(base, repack=False)


def _caches(
    base: LlamaConfig, header: Header | None, settings: Settings, budget: MemoryBudget
) -> Iterator[LlamaConfig]:
    """Yield KV caches in streams, then in a pool, each for fewer and fewer concurrent answers."""
    token = kv_token_bytes(header, base.kv_type)
    max_kv = None if budget.usable is None or base.gpu_layers else MAX_KV_SHARE * budget.usable
    unified = settings.layout == "unified" or settings.cells is not None or base.gpu_layers != 0
    exact = settings.kv_type is not None or base.kv_type not in QUANTIZED_KV
    if settings.layout == "streams" or (not unified and exact):
        for parallel in _parallels(settings):
            config = _with_cache(
                base, settings, "streams", parallel, num_slots("streams", parallel) * base.ctx
            )
            if settings.layout or max_kv is None or config.cells * token <= max_kv:
                yield config
    if settings.layout == "streams":
        return
    if settings.cells is not None:
        yield _with_cache(base, settings, "unified", settings.parallel or MAX_PARALLEL, settings.cells)
        return
    for parallel, pool in _pools(base.ctx, settings):
        if pool == base.ctx or max_kv is None or pool * token <= max_kv:
            yield _with_cache(base, settings, "unified", parallel, pool)


def _parallels(settings: Settings) -> tuple[int, ...]:
    return (settings.parallel,) if settings.parallel else (8, 4, 2, 1)


def _pools(ctx: int, settings: Settings) -> Iterator[tuple[int, int]]:
    """Yield concurrent answers and cells: half of what full contexts would take, but at least one context."""
    if settings.parallel is None:
        yield from ((parallel, max(ctx, parallel * ctx // 2)) for parallel in _parallels(settings))
        return
    pool = max(ctx, settings.parallel * ctx // 2)
    while pool > ctx:
        yield settings.parallel, pool
        pool //= 2
    yield settings.parallel, ctx


def _with_cache(
    base: LlamaConfig, settings: Settings, layout: Layout, parallel: int, cells: int
) -> LlamaConfig:
    kernel = base.flash_attention and base.kv_type == "f16" and not base.gpu_layers
    flash = settings.flash_attention
    if flash is None:
        flash = kernel or layout == "unified" or base.kv_type in QUANTIZED_KV
    return replace(
        base,
        layout=layout,
        parallel=parallel,
        cells=cells,
        flash_attention=flash,
        ubatch=settings.ubatch or (512 if flash and not kernel else 128),
        batch=max(settings.batch or 512, parallel),
    )
