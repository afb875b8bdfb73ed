"""Explains a plan: a sentence for each automatic choice, beginning with the setting and its value."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.gguf.header import Header
from edgeinfer.plan.context import DEFAULT_CONTEXT
from edgeinfer.plan.draft_model import NO_DRAFT, DraftChoice, draft_reason
from edgeinfer.plan.fit import MAX_PARALLEL, Fit
from edgeinfer.plan.gpu_placement import GpuPlacement
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.memory_estimate import MemoryEstimate, cells, kv_token_bytes
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.plan.threads import Threads
from edgeinfer.plan.transformer_shape import transformer_shape
from edgeinfer.settings import Settings

MB = 1e6

OF_ANSWERS = ("parallel", "kv_type", "layout", "flash_attention", "ubatch", "ram_cache_mb")
"""Choices that only concern answers in progress."""


def reasons(
    fit: Fit,
    budget: MemoryBudget,
    settings: Settings,
    threads: Threads,
    placement: GpuPlacement,
    header: Header | None,
    beside: Sequence[ModelMemory] = (),
    draft: DraftChoice = NO_DRAFT,
) -> list[str]:
    """Return the reasons for `fit`. A value that the settings give needs none."""
    config = fit.config
    sentences = [
        ("threads", threads.reason),
        ("cpus", threads.cpus_reason),
        ("gpu_layers", _gpu(fit, placement)),
        ("ctx", _ctx(fit, settings, header)),
        ("parallel", _parallel(fit, header)),
        ("kv_type", _kv_type(fit)),
        ("layout", _layout(fit, header, settings)),
        ("flash_attention", _flash_attention(fit)),
        ("ubatch", f"ubatch {config.ubatch}: fastest with flash_attention {_on(config.flash_attention)}"),
        ("mmap", _mmap(fit)),
        ("repack", None if config.repack else "repack off: there is no memory for copies of the weights"),
        ("beside", _beside(beside)),
        ("draft_model", draft_reason(fit, draft)),
        ("ram_cache_mb", _ram_cache(fit, settings)),
        ("memory", _memory(fit, budget)),
    ]
    if config.reranks:  # it generates no answers
        sentences = [(name, sentence) for name, sentence in sentences if name not in OF_ANSWERS]
    not_settings = ("cpus", "ctx", "mmap", "repack", "beside", "draft_model", "ram_cache_mb", "memory")
    return [
        sentence
        for name, sentence in sentences
        if sentence and (name in not_settings or getattr(settings, name) is None)
    ]


def _on(value: bool) -> str:
    return "on" if value else "off"


def _gpu(fit: Fit, placement: GpuPlacement) -> str | None:
    layers = fit.config.gpu_layers
    if placement.gpu is None:
        return placement.reason
    budget = f"{(placement.budget or 0) / MB:.0f} MB of the {placement.label} can be used"
    if layers == 0:
        return f"gpu_layers 0: {budget}, too little to be worth it"
    size = f"{fit.memory.gpu / MB:.0f} MB"
    if layers < 0:
        return f"gpu_layers -1: the whole model goes on the {placement.label}, {size}; {budget}"
    return f"gpu_layers {layers}: as many as fit, {size}; {budget}"


def _ctx(fit: Fit, settings: Settings, header: Header | None) -> str | None:
    """Explain the context, and say what the clients that need most need."""
    ctx = fit.config.ctx
    if settings.ctx is not None:
        return f"ctx {ctx}: the model was trained for no more" if ctx < settings.ctx else None
    if fit.config.reranks:
        return f"ctx {ctx}: a query and a document are read together, and have room for this many tokens"
    trained = transformer_shape(header).context
    if trained is not None and ctx >= trained:
        return f"ctx {ctx}: all that the model was trained for"
    cost = kv_token_bytes(header, fit.config.kv_type) * 1024 / MB
    needs = "agents need 16384 to 32768" if ctx > DEFAULT_CONTEXT else "Open WebUI with its tools needs 8192"
    return f"ctx {ctx}: {needs}, and 1024 more tokens take {cost:.0f} MB for each concurrent answer"


def _parallel(fit: Fit, header: Header | None) -> str:
    parallel = fit.config.parallel
    if parallel >= MAX_PARALLEL:
        return f"parallel {parallel}: concurrent answers share each pass over the weights"
    more = kv_token_bytes(header, fit.config.kv_type) * fit.config.ctx
    return f"parallel {parallel}: one more concurrent answer would take up to {more / MB:.0f} MB"


def _kv_type(fit: Fit) -> str:
    kv_type = fit.config.kv_type
    if kv_type == "f16":
        return "kv_type f16: as exact as the model, half the size of f32"
    return f"kv_type {kv_type}: half the size of f16, which would not fit"


def _layout(fit: Fit, header: Header | None, settings: Settings) -> str:
    config = fit.config
    size = f"{kv_token_bytes(header, config.kv_type) * cells(config) / MB:.0f} MB"
    if config.layout == "streams":
        return f"layout streams: fastest on a CPU, {size}"
    if config.gpu_layers:
        return f"layout unified: one pool is fastest on a GPU, {size}"
    if settings.cells:
        return "layout unified: --cells sets the size of a pool"
    return f"layout unified: a stream for each answer would take too much; one pool takes {size}"


def _flash_attention(fit: Fit) -> str:
    config = fit.config
    if config.kv_type in ("q8_0", "q4_0"):
        return f"flash_attention on: kv_type {config.kv_type} needs it"
    if config.gpu_layers:
        return "flash_attention on: fastest on a GPU"
    if not config.flash_attention:
        return "flash_attention off: on this CPU plain attention over short streams is faster"
    if config.layout == "streams":
        return "flash_attention on: fastest with the kernels for this CPU"
    return "flash_attention on: it keeps the compute buffers of a large pool small"


def _mmap(fit: Fit) -> str | None:
    if fit.config.mmap:
        return None
    return (
        f"mmap off: {fit.memory.repacked / MB:.0f} MB of the weights are copied for faster kernels, "
        "and a mapped file would stay in memory alongside the copies"
    )


def _beside(beside: Sequence[ModelMemory]) -> str | None:
    if not beside:
        return None
    total = sum(other.predicted.model for other in beside)
    others = "another model takes" if len(beside) == 1 else f"{len(beside)} other models take"
    return f"memory shared: {others} {total / MB:.0f} MB"


def _ram_cache(fit: Fit, settings: Settings) -> str | None:
    """Explain the RAM for prefixes, where there is some, or less than is asked for."""
    megabytes, asked = fit.config.ram_cache_mb, settings.ram_cache_mb
    if asked is not None and megabytes < asked:
        return f"ram_cache_mb {megabytes}: no more is free"
    if asked is not None or not megabytes:
        return None
    return f"ram_cache_mb {megabytes}: conversations for which the KV cache has no room come back from there"


def _memory(fit: Fit, budget: MemoryBudget) -> str | None:
    """Return a warning where the model does not fit."""
    if fit.fits is not False:
        return None
    memory = fit.memory
    if budget.gpu is not None and memory.gpu > budget.gpu:
        return f"memory short: {memory.gpu / MB:.0f} MB of GPU memory are needed, {budget.gpu / MB:.0f} MB can be used"
    if budget.limit is not None and memory.model > budget.limit:
        return f"memory short: {memory.model / MB:.0f} MB are needed, and memory_limit_mb leaves {budget.limit / MB:.0f} MB"
    return (
        f"memory short: {memory.needed / MB:.0f} MB are needed, {(budget.available or 0) / MB:.0f} MB are "
        f"available, and {budget.headroom / MB:.0f} MB of these are left to the system"
    )


def shortage(memory: MemoryEstimate, budget: MemoryBudget) -> str:
    """Say what a model needs that does not fit, and what there is."""
    if budget.gpu is not None and memory.gpu > budget.gpu:
        return f"needs {memory.gpu / MB:,.0f} MB of GPU memory, only {budget.gpu / MB:,.0f} MB can be used"
    if budget.limit is not None and memory.model > budget.limit:
        return f"needs {memory.model / MB:,.0f} MB, memory_limit_mb leaves {budget.limit / MB:,.0f} MB"
    return f"needs {memory.needed / MB:,.0f} MB, only {(budget.ram or 0) / MB:,.0f} MB can be used"
