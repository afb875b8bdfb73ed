"""Decides which models are unloaded to make room for another. It does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from edgeinfer.plan import Plan

M = TypeVar("M")


def choose_evictions(idle: Sequence[M], fits: Callable[[Sequence[M]], bool]) -> list[M] | None:
    """The idle models to evict so that another fits; [] if it fits as it is, None if evicting all is not enough.

    The first of `idle` is evicted first. A model whose memory would not help is not evicted.
    """
    for count in range(len(idle) + 1):
        chosen = list(idle[:count])
        if not fits(chosen):
            continue
        for model in list(chosen[:-1]):
            rest = [other for other in chosen if other is not model]
            if fits(rest):
                chosen = rest
        return chosen
    return None


def is_adequate(plan: Plan, best: Plan) -> bool:
    """True if `plan`, made next to other models, is good enough compared with `best`, made without them.

    It may compute half as many answers at once, and pool its KV cache; but it must not give up context, precision of
    the KV cache, the GPU or repacked weights.
    """
    if plan.fits is False:
        return best.fits is False
    mine, theirs = plan.config, best.config
    if 2 * mine.parallel < theirs.parallel:
        return False
    same = ("ctx", "gpu_layers", "kv_type", "repack", "cards")
    return all(getattr(mine, name, None) == getattr(theirs, name, None) for name in same)
