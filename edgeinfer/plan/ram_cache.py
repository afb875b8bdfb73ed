"""Decides how much RAM may hold prefixes that had to make room in the KV cache."""

from __future__ import annotations

from msgspec.structs import replace

from edgeinfer.gguf.header import Header
from edgeinfer.plan.fit import Fit
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.transformer_shape import transformer_shape
from edgeinfer.settings import Settings

SHARE = 0.1
"""Share of the memory that the model and the system leave. It is taken as it is used, and other models come first."""

MIN_MB, MAX_MB = 256, 4096
"""Below the first, a small board is left alone; above the second, hardly any conversation is left that comes back."""

MB = 1_000_000


def with_ram_cache(fit: Fit, header: Header | None, settings: Settings, budget: MemoryBudget) -> Fit:
    """Return `fit` with the megabytes that the settings ask for, as far as they are free, or with a share of what is."""
    free = _free(fit, budget)
    megabytes = settings.ram_cache_mb
    if fit.config.reranks or not transformer_shape(header).generates:
        megabytes = 0
    elif megabytes is None:
        share = 0 if free is None or not fit.fits else int(SHARE * free / MB)
        megabytes = 0 if share < MIN_MB else min(share, MAX_MB)
    elif free is not None:
        megabytes = min(megabytes, free // MB)
    return replace(
        fit,
        config=replace(fit.config, ram_cache_mb=megabytes),
        memory=replace(fit.memory, ram_cache=megabytes * MB),
    )


def _free(fit: Fit, budget: MemoryBudget) -> int | None:
    """Bytes that are left beside the model; None if the machine's memory is unknown."""
    left = [] if budget.ram is None else [budget.ram - fit.memory.needed - fit.memory.embeddings]
    left += [] if budget.limit is None else [budget.limit - fit.memory.model]
    return max(0, min(left)) if left else None
