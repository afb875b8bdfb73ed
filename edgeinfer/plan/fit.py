"""What fits: configurations from the best to the smallest, and what memory there is for them."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator

import msgspec
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import KVType, LlamaConfig
from edgeinfer.engine.config import Layout, num_slots
from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.gpu_placement import GpuPlacement
from edgeinfer.plan.memory_estimate import MemoryEstimate, estimate, kv_token_bytes
from edgeinfer.plan.transformer_shape import network
from edgeinfer.settings import Settings

KV_SHARE = 0.25
"""Of the usable memory, that a KV cache may take; where the smallest one takes more, it may."""

HEADROOM = 0.1
LEAST_HEADROOM, MOST_HEADROOM = 64 * 1024**2, 1024**3
"""Of what the machine (or the cgroup) has, that is left to the system and to what else it runs."""

PARALLEL = 8
QUANTIZED = ("q8_0", "q4_0")
"""Types of KV cache that only flash attention can read."""

COPIED = 0.25
"""Share of the weights from which on, if they are repacked, the file is read and not mapped."""

PARTLY = 0.5
"""Share of the layers from which on it is worth having a part of a model on the GPU."""


class MemoryBudget(msgspec.Struct, frozen=True):
    """Bytes that a model may take; None: not known, so anything goes.

    Attributes:
        ram: `available` less `headroom`.
        gpu: of the GPU that computes.
        available: RAM that is free now.
        headroom: RAM that is left to the system.
        limit: what loaded models leave of `memory_limit_mb`; None: there is no limit.
    """

    ram: int | None
    gpu: int | None = None
    available: int | None = None
    headroom: int = 0
    limit: int | None = None

    @property
    def usable(self) -> int | None:
        """The smaller of `available` and `limit`."""
        return min((size for size in (self.available, self.limit) if size is not None), default=None)

    def excess(self, memory: MemoryEstimate) -> tuple[int, int]:
        """Return the bytes that are too much on the GPU, which fails for certain, and those in all."""
        ram = 0 if self.ram is None else max(0, memory.needed - self.ram)
        limit = 0 if self.limit is None else max(0, memory.model - self.limit)
        return (0 if self.gpu is None else max(0, memory.gpu - self.gpu)), max(ram, limit)


class Fit(msgspec.Struct, frozen=True):
    """A configuration and its memory. `fits` None: not known."""

    config: LlamaConfig
    memory: MemoryEstimate
    fits: bool | None


def budget(profile: HardwareProfile, placement: GpuPlacement, limit: int | None = None) -> MemoryBudget:
    memory = profile.memory
    size = memory.limit or memory.total
    headroom = round(min(max(HEADROOM * (size or 0), LEAST_HEADROOM), MOST_HEADROOM))
    ram = None if memory.available is None else max(0, memory.available - headroom)
    return MemoryBudget(ram, placement.room, memory.available, headroom, limit)


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
    """Return the best configuration that fits; if none does, the one that is least too much.

    Args:
        daemon_runs: the processes that all models share are there already, and out of the budget.
    """
    least: Fit | None = None
    for config in ladder(base, header, settings, budget, isa, gpu):
        memory = estimate(header, config, isa, api=gpu.api if gpu else None, shared=bool(gpu and gpu.shared))
        if daemon_runs:
            memory = replace(memory, daemon=0)
        if not any(budget.excess(memory)):
            return Fit(config, memory, None if budget.ram is None else True)
        if least is None or budget.excess(memory) < budget.excess(least.memory):
            least = Fit(config, memory, False)
    assert least is not None
    return least


def ladder(
    base: LlamaConfig,
    header: Header | None,
    settings: Settings,
    budget: MemoryBudget,
    isa: Collection[str],
    gpu: Gpu | None,
) -> Iterator[LlamaConfig]:
    """Configurations, the best first. What is given up, in this order: answers at once, streams, the exact KV cache,
    repacked weights, layers on the GPU.
    """
    kinds: tuple[KVType, ...] = (settings.kv_type,) if settings.kv_type else ("f16", "q8_0")
    if settings.flash_attention is False:
        kinds = kinds[:1]
    for layers in _gpu_layers(base, header, settings, budget, gpu):
        placed = replace(base, gpu_layers=layers)
        for loaded in _loaded(placed, header, isa, gpu):
            for kv_type in kinds:
                yield from _caches(replace(loaded, kv_type=kv_type), header, settings, budget)


def _gpu_layers(
    base: LlamaConfig, header: Header | None, settings: Settings, budget: MemoryBudget, gpu: Gpu | None
) -> Iterator[int]:
    """All; as many as fit with the smallest exact KV cache, if that is a good part of them; none."""
    if settings.gpu_layers is not None:
        yield settings.gpu_layers
        return
    if gpu is not None and header is not None:
        yield -1
        if not gpu.shared:  # else what is not on the GPU takes the same memory
            layers = network(header).layers
            least = _with(base, settings, "unified", settings.parallel or 1, settings.cells or base.ctx)

            def too_many(count: int) -> bool:
                placed = replace(least, gpu_layers=count)
                return budget.gpu is not None and estimate(header, placed, api=gpu.api).gpu > budget.gpu

            most = bisect.bisect_left(range(layers + 1), True, key=too_many) - 1
            if most > PARTLY * layers:
                yield most
    yield 0


def _loaded(
    base: LlamaConfig, header: Header | None, isa: Collection[str], gpu: Gpu | None
) -> Iterator[LlamaConfig]:
    """With copies of the weights that are repacked; then without, where there are any."""
    copies = estimate(header, base, isa)
    mapped = copies.repacked <= COPIED * (copies.repacked + copies.weights) or bool(gpu and gpu.shared)
    yield replace(base, mmap=mapped)
    if copies.repacked:
        yield replace(base, repack=False)


def _caches(
    base: LlamaConfig, header: Header | None, settings: Settings, budget: MemoryBudget
) -> Iterator[LlamaConfig]:
    """The KV cache in streams, then in a pool, each for fewer and fewer answers at once."""
    token = kv_token_bytes(header, base.kv_type)
    share = None if budget.usable is None or base.gpu_layers else KV_SHARE * budget.usable
    unified = settings.layout == "unified" or settings.cells is not None or base.gpu_layers != 0
    exact = settings.kv_type is not None or base.kv_type not in QUANTIZED
    if settings.layout == "streams" or (not unified and exact):
        for parallel in _counts(settings):
            config = _with(base, settings, "streams", parallel, num_slots("streams", parallel) * base.ctx)
            if settings.layout or share is None or config.cells * token <= share:
                yield config
    if settings.layout == "streams":
        return
    if settings.cells is not None:
        yield _with(base, settings, "unified", settings.parallel or PARALLEL, settings.cells)
        return
    for parallel, pool in _pools(base.ctx, settings):
        if pool == base.ctx or share is None or pool * token <= share:
            yield _with(base, settings, "unified", parallel, pool)


def _counts(settings: Settings) -> tuple[int, ...]:
    return (settings.parallel,) if settings.parallel else (8, 4, 2, 1)


def _pools(ctx: int, settings: Settings) -> Iterator[tuple[int, int]]:
    """Answers at once, and cells: half of what as many full contexts would take, but one context at least."""
    if settings.parallel is None:
        yield from ((parallel, max(ctx, parallel * ctx // 2)) for parallel in _counts(settings))
        return
    pool = max(ctx, settings.parallel * ctx // 2)
    while pool > ctx:
        yield settings.parallel, pool
        pool //= 2
    yield settings.parallel, ctx


def _with(base: LlamaConfig, settings: Settings, layout: Layout, parallel: int, cells: int) -> LlamaConfig:
    flash = settings.flash_attention
    if flash is None:
        flash = layout == "unified" or base.kv_type in QUANTIZED
    return replace(
        base,
        layout=layout,
        parallel=parallel,
        cells=cells,
        flash_attention=flash,
        ubatch=settings.ubatch or (512 if flash else 128),
        batch=max(settings.batch or 512, parallel),
    )
