"""Chooses how many tokens a conversation may hold, where the settings do not say."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.config import num_slots
from edgeinfer.gguf.header import Header
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.fit import MAX_KV_SHARE, QUANTIZED_KV, Fit, memory_beside
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.memory_estimate import kv_token_bytes
from edgeinfer.plan.transformer_shape import transformer_shape
from edgeinfer.settings import Settings

DEFAULT_CONTEXT = 4096
"""Tokens for which a model must fit. A smaller model is better than a shorter conversation."""

LARGER_CONTEXTS = (32768, 16384, 8192)
"""Open WebUI sends 6,500 tokens of tools with each message, and coding agents 10,000 to 20,000."""

MAX_STREAM_CONTEXT = 16384
"""Each stream takes its cells whether it is used or not."""

MIN_PARALLEL = 4
"""Concurrent answers that are not given up for a longer context."""

MAX_EXTRA_KV = 2.5e9
"""Bytes of KV cache up to which a longer context is worth the time of filling them at the start."""


def default_context(header: Header | None, settings: Settings) -> int:
    """Return the tokens that a configuration must hold: what is asked for, as far as the model was trained for it."""
    ctx = settings.ctx or DEFAULT_CONTEXT
    trained = transformer_shape(header).context
    return min(trained, ctx) if trained else ctx


def with_larger_context(
    fit: Fit,
    header: Header | None,
    settings: Settings,
    budget: MemoryBudget,
    isa: Collection[str],
    gpu: Gpu | None,
    *,
    daemon_runs: bool = False,
    draft: Header | None = None,
) -> Fit:
    """Return `fit` with as large a context as memory allows. In a pool that costs nothing up to the pool's size."""
    config = fit.config
    trained = transformer_shape(header).context
    if config.reranks:  # what it reads at once is a question and a passage
        return fit
    if settings.ctx is not None or fit.fits is not True or config.kv_type in QUANTIZED_KV or not trained:
        return fit
    max_kv = MAX_EXTRA_KV
    if budget.usable is not None and not config.gpu_layers:
        max_kv = min(max_kv, MAX_KV_SHARE * budget.usable)
    token = kv_token_bytes(header, config.kv_type)
    for larger in _candidates(config, settings, trained):
        if larger.cells > config.cells and larger.cells * token > max_kv:
            continue
        memory = memory_beside(larger, header, isa, gpu, daemon_runs=daemon_runs, draft=draft)
        if not any(budget.excess(memory)):
            return Fit(larger, memory, True)
    return fit


def _candidates(config: LlamaConfig, settings: Settings, trained: int) -> Iterator[LlamaConfig]:
    """Yield configurations with larger contexts, the best first. Half of the concurrent answers may be given up."""
    contexts = [ctx for ctx in LARGER_CONTEXTS if config.ctx < ctx <= trained]
    if config.layout == "unified":
        for ctx in contexts:
            if settings.cells is None or ctx <= settings.cells:
                yield replace(config, ctx=ctx, cells=max(config.cells, ctx))
        return
    fewer = MIN_PARALLEL if settings.parallel is None else config.parallel
    for parallel in dict.fromkeys((config.parallel, min(config.parallel, fewer))):
        for ctx in contexts:
            if ctx <= MAX_STREAM_CONTEXT:
                cells = num_slots("streams", parallel) * ctx
                yield replace(config, ctx=ctx, parallel=parallel, cells=cells)
