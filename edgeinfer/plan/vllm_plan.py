"""Plans a model in safetensors for vLLM: cards, context, concurrent answers, and the memory that they take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from edgeinfer.backends.vllm.config import VllmConfig, VllmDtype
from edgeinfer.errors import DoesNotFit, SettingsError
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.engine_choice import LLAMA_ONLY, named
from edgeinfer.plan.gpu_placement import GpuPlacement
from edgeinfer.plan.memory_budget import MemoryBudget, memory_budget
from edgeinfer.plan.memory_estimate import DAEMON, MemoryEstimate
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.plan.vllm_cards import usable_cards
from edgeinfer.safetensors.folder import ModelFolder
from edgeinfer.settings import Settings

MB = 1e6

PROCESSES = 2_500_000_000
CARD_PROCESSES = 6_000_000_000
"""Bytes of RAM that vLLM's processes take beside a model, on a CPU and with cards: estimates, the second on the
careful side, since a service is not given more.
"""

OVERHEAD = 1_500_000_000
"""Bytes of each card for CUDA, activations and captured graphs: an estimate."""

RESERVE = 300_000_000
"""Bytes of each card that are left to others."""

MIN_CONTEXT, USUAL_CONTEXT = 4096, 32768
"""Tokens for which a model must fit, and up to which the context is made larger."""

MAX_PARALLEL = 64
CPU_PARALLEL = 4
CPU_KV_SHARE = 0.25
"""Share of the RAM beside the weights that the KV cache may take."""


class VllmFit(msgspec.Struct, frozen=True):
    """A configuration, its memory, and the reason for each choice."""

    config: VllmConfig
    memory: MemoryEstimate
    budget: MemoryBudget
    fits: bool | None
    reasons: list[str]


def plan_vllm(
    folder: ModelFolder,
    name: str,
    command: str,
    profile: HardwareProfile,
    settings: Settings,
    beside: Sequence[ModelMemory] = (),
) -> VllmFit:
    """Plan a model.

    Raises:
        SettingsError: a setting is llama.cpp's.
        DoesNotFit: the model fits on no cards, and `force` is not set.
    """
    for setting in LLAMA_ONLY:
        if getattr(settings, setting) is not None:
            raise SettingsError(
                f"{setting} is a setting of llama.cpp, and vLLM computes {name}",
                param=setting,
                hint=f"leave {setting} out, or set it for another model in [models.NAME]",
            )
    cards = usable_cards(profile)
    return (
        _on_cards(folder, name, command, cards, profile, settings, beside)
        if cards
        else _on_cpu(folder, name, command, profile, settings, beside)
    )


def weights_bytes(folder: ModelFolder) -> int:
    """Bytes of the weights on a card: those in 32 bits are loaded in 16."""
    return folder.size // 2 if folder.dtype == "F32" else folder.size


def _on_cards(
    folder: ModelFolder,
    name: str,
    command: str,
    cards: Sequence[Gpu],
    profile: HardwareProfile,
    settings: Settings,
    beside: Sequence[ModelMemory],
) -> VllmFit:
    least = min(settings.ctx or MIN_CONTEXT, folder.context)
    counts = [n for n in (1, 2, 4, 8) if n <= len(cards) and folder.heads % n == 0]
    needs = [_needed(folder, n, least) for n in counts]
    chosen = next((n for n, need in zip(counts, needs, strict=True) if need <= _smallest(cards[:n])), None)
    count = chosen or counts[-1]
    used = cards[:count]
    room = _smallest(used)
    if chosen is None and not settings.force:
        raise DoesNotFit(
            f"{name} needs {needs[-1] / MB:,.0f} MB on each of {named(used)}, only {max(0, room) / MB:,.0f} MB can be used",
            param="model",
            hint="choose a smaller model, or one in a GGUF file; --force tries it anyway",
        )
    kv_tokens = max(least, (room - _fixed(folder, count)) * count // folder.kv_token_bytes)
    ctx = settings.ctx or min(folder.context, max(least, min(USUAL_CONTEXT, kv_tokens // 2)))
    ctx = min(ctx, folder.context)
    parallel = settings.parallel or max(1, min(MAX_PARALLEL, 2 * kv_tokens // ctx))
    total = min(card.memory or 0 for card in used)
    share = min(0.95, math.floor(100 * (room + OVERHEAD / 3) / total) / 100) if total else 0.9
    old = any(_capability(card) < (8, 0) for card in used)
    dtype: VllmDtype = "float16" if old and folder.dtype == "BF16" else "auto"
    config = VllmConfig(
        model=str(folder.path),
        name=name,
        command=command,
        ctx=ctx,
        parallel=parallel,
        dtype=dtype,
        cards=tuple(card.index or 0 for card in used),
        gpu_memory=share,
    )
    weights = weights_bytes(folder)
    memory = MemoryEstimate(
        0,
        worker=CARD_PROCESSES,
        daemon=0 if beside else DAEMON,
        gpu_weights=weights,
        gpu_kv=kv_tokens * folder.kv_token_bytes,
        gpu_compute=OVERHEAD * count,
    )
    budget = msgspec.structs.replace(_budget(profile), gpu=max(0, room) * count)
    on = f"{weights / MB:,.0f} MB of weights on {named(used)}"
    reasons = [
        f"cards {count}: {on}"
        + (
            f", split by tensor parallelism: {named(used[:1])} alone has too little memory"
            if count > 1
            else ""
        ),
        f"gpu_memory {share:g}: what is free of each card; the rest is left to others",
        f"parallel {parallel}: the KV cache has room for {kv_tokens:,} tokens, which answers share by pages",
    ]
    if dtype != "auto":
        reasons.append(f"dtype {dtype}: {named(used[:1])} cannot compute in bfloat16")
    return VllmFit(
        config, memory, budget, chosen is not None, _with_context(reasons, config, folder, settings)
    )


def _on_cpu(
    folder: ModelFolder,
    name: str,
    command: str,
    profile: HardwareProfile,
    settings: Settings,
    beside: Sequence[ModelMemory],
) -> VllmFit:
    """Plan for vLLM's build for CPUs, which is meant for servers."""
    weights = folder.size
    budget = _budget(profile)
    ctx = min(settings.ctx or MIN_CONTEXT, folder.context)
    parallel = settings.parallel or CPU_PARALLEL
    least = ctx * folder.kv_token_bytes
    room = None if budget.ram is None else budget.ram - weights - PROCESSES
    kv = (
        parallel * least
        if room is None
        else max(least, min(parallel * least, round(CPU_KV_SHARE * max(0, room))))
    )
    kv_cache_mb = max(16, math.ceil(2 * kv / MB)) if folder.dtype == "F32" else max(16, math.ceil(kv / MB))
    memory = MemoryEstimate(
        weights, kv=kv_cache_mb * 1_000_000, worker=PROCESSES, daemon=0 if beside else DAEMON
    )
    fits = None if budget.ram is None else memory.needed <= budget.ram
    if fits is False and not settings.force:
        raise DoesNotFit(
            f"{name} needs {memory.needed / MB:,.0f} MB, only {(budget.ram or 0) / MB:,.0f} MB can be used",
            param="model",
            hint="choose a smaller model, or one in a GGUF file; --force tries it anyway",
        )
    config = VllmConfig(
        model=str(folder.path),
        name=name,
        command=command,
        ctx=ctx,
        parallel=parallel,
        dtype="float32" if folder.dtype == "F32" else "auto",
        kv_cache_mb=kv_cache_mb,
        compiles=False,
    )
    reasons = [
        "cards 0: there is none that vLLM can use, so it has to be a build for CPUs",
        f"kv_cache_mb {kv_cache_mb}: {parallel} answers share it by pages",
        "compiles off: compiling takes minutes on a CPU",
    ]
    return VllmFit(config, memory, budget, fits, _with_context(reasons, config, folder, settings))


def _with_context(
    reasons: list[str], config: VllmConfig, folder: ModelFolder, settings: Settings
) -> list[str]:
    if settings.ctx is not None:
        if config.ctx < settings.ctx:
            return [*reasons, f"ctx {config.ctx}: the model was trained for no more"]
        return reasons
    cost = folder.kv_token_bytes * 1024 / MB
    why = (
        "all that the model was trained for"
        if config.ctx == folder.context
        else (f"1024 more tokens take {cost:.0f} MB for each concurrent answer")
    )
    return [*reasons, f"ctx {config.ctx}: {why}"]


def _fixed(folder: ModelFolder, count: int) -> int:
    """Bytes that each of so many cards needs beside the KV cache."""
    return math.ceil(weights_bytes(folder) / count) + OVERHEAD


def _needed(folder: ModelFolder, count: int, ctx: int) -> int:
    return _fixed(folder, count) + math.ceil(ctx * folder.kv_token_bytes / count)


def _smallest(cards: Sequence[Gpu]) -> int:
    """Bytes that can be used of each of several cards: vLLM takes the same of all."""
    free = (card.available if card.available is not None else card.memory or 0 for card in cards)
    return min(free) - RESERVE


def _capability(card: Gpu) -> tuple[int, int]:
    """The compute capability; of cards that have none, one that is new enough."""
    major, _, minor = (card.compute_capability or "9.0").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (9, 0)


def _budget(profile: HardwareProfile) -> MemoryBudget:
    return memory_budget(profile, GpuPlacement())
