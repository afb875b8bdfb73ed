"""A plan's reasons: a sentence for each choice that was not made by hand. It begins with the setting and its value."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.gguf.header import Header
from edgeinfer.plan.fit import PARALLEL, Fit, MemoryBudget
from edgeinfer.plan.gpu_placement import GpuPlacement
from edgeinfer.plan.memory_estimate import MemoryEstimate, cells, kv_token_bytes
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.plan.threads import Threads
from edgeinfer.settings import Settings

MB = 1e6


def reasons(
    found: Fit,
    room: MemoryBudget,
    settings: Settings,
    threading: Threads,
    place: GpuPlacement,
    header: Header | None,
    beside: Sequence[ModelMemory] = (),
) -> list[str]:
    """Why `found` is as it is."""
    config = found.config
    said = [
        ("threads", threading.reason),
        ("cpus", threading.cpus_reason),
        ("gpu_layers", _gpu(found, place)),
        (
            "ctx",
            f"ctx {config.ctx}: the model was trained for no more" if config.ctx < settings.ctx else None,
        ),
        ("parallel", _parallel(found, header)),
        ("kv_type", _kv_type(found)),
        ("layout", _layout(found, header, settings)),
        ("flash_attention", _flash_attention(found)),
        ("ubatch", f"ubatch {config.ubatch}: fastest with flash_attention {_on(config.flash_attention)}"),
        ("mmap", _mmap(found)),
        ("repack", None if config.repack else "repack off: there is no room for copies of the weights"),
        ("beside", _beside(beside)),
        ("memory", _memory(found, room)),
    ]
    never_given = ("cpus", "ctx", "mmap", "repack", "beside", "memory")
    return [why for name, why in said if why and (name in never_given or getattr(settings, name) is None)]


def _on(value: bool) -> str:
    return "on" if value else "off"


def _gpu(found: Fit, place: GpuPlacement) -> str | None:
    layers = found.config.gpu_layers
    if place.gpu is None:
        return place.reason
    room = f"{(place.room or 0) / MB:.0f} MB of the {place.gpu.name} may be taken"
    if layers == 0:
        return f"gpu_layers 0: {room}, too little for it to pay"
    size = f"{found.memory.gpu / MB:.0f} MB"
    if layers < 0:
        return f"gpu_layers -1: the whole model goes on the {place.gpu.name}, {size}; {room}"
    return f"gpu_layers {layers}: as many as fit, {size}; {room}"


def _parallel(found: Fit, header: Header | None) -> str:
    parallel = found.config.parallel
    if parallel >= PARALLEL:
        return f"parallel {parallel}: as many answers share each read of the weights"
    more = kv_token_bytes(header, found.config.kv_type) * found.config.ctx
    return f"parallel {parallel}: the context of one more answer would take up to {more / MB:.0f} MB"


def _kv_type(found: Fit) -> str:
    kind = found.config.kv_type
    if kind == "f16":
        return "kv_type f16: as exact as the model, half of f32"
    return f"kv_type {kind}: half of f16, which would not fit"


def _layout(found: Fit, header: Header | None, settings: Settings) -> str:
    config = found.config
    size = f"{kv_token_bytes(header, config.kv_type) * cells(config) / MB:.0f} MB"
    if config.layout == "streams":
        return f"layout streams: fastest on a CPU, {size}"
    if config.gpu_layers:
        return f"layout unified: on a GPU one pool is fastest, {size}"
    if settings.cells:
        return "layout unified: --cells sets the size of a pool"
    return f"layout unified: a stream for each answer would take too much; one pool takes {size}"


def _flash_attention(found: Fit) -> str:
    config = found.config
    if config.kv_type in ("q8_0", "q4_0"):
        return f"flash_attention on: kv_type {config.kv_type} needs it"
    if config.gpu_layers:
        return "flash_attention on: fastest on a GPU"
    if config.layout == "streams":
        return "flash_attention off: on a CPU plain attention over short streams is faster"
    return "flash_attention on: it keeps the compute buffers of a large pool small"


def _mmap(found: Fit) -> str | None:
    if found.config.mmap:
        return None
    return (
        f"mmap off: {found.memory.repacked / MB:.0f} MB of the weights are copied for faster kernels, "
        "and a mapped file would stay in memory beside the copies"
    )


def _beside(beside: Sequence[ModelMemory]) -> str | None:
    if not beside:
        return None
    total = sum(other.predicted.model for other in beside)
    others = "another model takes" if len(beside) == 1 else f"{len(beside)} other models take"
    return f"memory shared: {others} {total / MB:.0f} MB"


def _memory(found: Fit, room: MemoryBudget) -> str | None:
    """A warning: it is too much."""
    if found.fits is not False:
        return None
    memory = found.memory
    if room.gpu is not None and memory.gpu > room.gpu:
        return f"memory short: {memory.gpu / MB:.0f} MB on the GPU are more than the {room.gpu / MB:.0f} there are"
    if room.limit is not None and memory.model > room.limit:
        return f"memory short: {memory.model / MB:.0f} MB are needed, and memory_limit_mb leaves {room.limit / MB:.0f}"
    return (
        f"memory short: {memory.needed / MB:.0f} MB are needed, {(room.available or 0) / MB:.0f} are available "
        f"and {room.headroom / MB:.0f} of these are for the system"
    )


def shortage(memory: MemoryEstimate, budget: MemoryBudget) -> str:
    """Say what a model needs that does not fit, and what there is."""
    if budget.gpu is not None and memory.gpu > budget.gpu:
        return f"needs {memory.gpu / MB:,.0f} MB of the GPU, {budget.gpu / MB:,.0f} may be taken"
    if budget.limit is not None and memory.model > budget.limit:
        return f"needs {memory.model / MB:,.0f} MB, memory_limit_mb leaves {budget.limit / MB:,.0f}"
    return f"needs {memory.needed / MB:,.0f} MB, {(budget.ram or 0) / MB:,.0f} may be taken"
