"""How this model runs best on this machine. Pure: facts in, a plan out, with the reason for every choice."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from edgeinfer.catalog.gguf import Header
from edgeinfer.catalog.models import Model, find
from edgeinfer.engine.config import EngineConfig, KVType, Layout, slots
from edgeinfer.errors import SettingsError
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.settings import Settings

KV_BYTES: dict[str, float] = {"f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Of one cache element."""

QUANTIZED = ("q8_0", "q4_0")
"""Types of KV cache that only flash attention can read."""

KV_SHARE = 0.25
"""Of the available memory, that a KV cache with streams may take; a larger one becomes a unified pool."""

TINY = 32_000_000
"""Bytes of a model below which one thread is the fastest: a layer takes microseconds."""

PARALLEL = 8
MB = 1e6

T = TypeVar("T")


class Plan(msgspec.Struct, frozen=True):
    """A resolved configuration, and why it is so: one sentence for each choice that was ours.

    `tool_format` is the catalogue's word on how the model writes tool calls; None leaves it to its template.
    """

    config: EngineConfig
    reasons: list[str]
    tool_format: str | None = None


def make_plan(settings: Settings, profile: HardwareProfile | None = None) -> Plan:
    """The plan for this machine, or for the one that `profile` describes.

    Raises:
        ModelNotFound, ModelLoadFailed: the model is not there, or is no GGUF file.
        SettingsError: settings that contradict each other.
    """
    return plan(find(settings.model), profile or detect(), settings)


def plan(model: Model, profile: HardwareProfile, settings: Settings) -> Plan:
    """As make_plan, from facts alone."""
    reasons: list[str] = []

    def choose(given: T | None, best: T, reason: str) -> T:
        if given is not None:
            return given
        reasons.append(reason)
        return best

    threads, why = _threads(profile, model.header)
    threads = choose(settings.threads, threads, why)
    ctx = _ctx(model.header, settings, reasons)
    parallel = choose(
        settings.parallel, PARALLEL, f"parallel {PARALLEL}: as many answers share each read of the weights"
    )
    kv_type: KVType = choose(settings.kv_type, "f16", "kv_type f16: as exact as the model, half of f32")
    token_bytes = kv_token_bytes(model.header, kv_type)
    reserved = slots("streams", parallel) * ctx
    best, why = _layout(profile, reserved * token_bytes, settings)
    layout: Layout = choose(settings.layout, best, why)
    streams = layout == "streams"
    flash = choose(settings.flash_attention, *_flash_attention(streams, kv_type))
    best_ubatch = 512 if flash else 128
    ubatch = choose(
        settings.ubatch,
        best_ubatch,
        f"ubatch {best_ubatch}: fastest with flash_attention {'on' if flash else 'off'}",
    )
    cells = reserved if streams else (settings.cells or _pool(profile, ctx, parallel, token_bytes))
    if cells < ctx:
        raise SettingsError(
            f"cells {cells} can't hold one context of {ctx} tokens",
            param="cells",
            hint="raise --cells or lower --ctx",
        )
    config = EngineConfig(
        model=model.path,
        name=model.name,
        ctx=ctx,
        parallel=parallel,
        layout=layout,
        cells=cells,
        threads=threads,
        batch=max(settings.batch or 512, parallel),
        ubatch=ubatch,
        flash_attention=flash,
        kv_type=kv_type,
        gpu_layers=settings.gpu_layers or 0,
        step_ms=settings.step_ms,
    )
    if streams and settings.cells is not None:
        raise SettingsError(
            "cells is the size of a unified pool, and the layout is streams",
            param="cells",
            hint="leave out --cells or --layout streams",
        )
    if not flash and kv_type in QUANTIZED:
        raise SettingsError(
            f"kv_type {kv_type} needs flash attention",
            param="kv_type",
            hint="add --flash-attention, or take f16",
        )
    return Plan(config, reasons, model.tool_format)


def kv_token_bytes(header: Header | None, kv_type: KVType) -> int:
    """Bytes of KV cache that one token takes: 2 x layers x KV heads x head size x element."""
    if header is None:
        return 0
    layers = header.number("block_count") or 0
    heads = header.number("attention.head_count") or 1
    kv_heads = header.number("attention.head_count_kv") or heads
    size = header.number("attention.key_length") or (header.number("embedding_length") or 0) // heads
    return round(2 * layers * kv_heads * size * KV_BYTES[kv_type])


def _threads(profile: HardwareProfile, header: Header | None) -> tuple[int, str]:
    if header and header.size < TINY:
        return 1, "threads 1: a model this small computes faster than threads can meet"
    if not profile.cpus:
        return 1, "threads 1: the number of cores is unknown"
    cores = len(profile.cpus[0].cpus)
    kind = "fastest " if len(profile.cpus) > 1 else ""
    why = f"threads {cores}: one for each of the {kind}cores that may be used"
    if profile.cpu_quota and profile.cpu_quota < cores:
        cores = max(1, int(profile.cpu_quota))
        why = f"threads {cores}: the control group allows {profile.cpu_quota:g} CPUs"
    return cores, why


def _flash_attention(streams: bool, kv_type: KVType) -> tuple[bool, str]:
    if kv_type in QUANTIZED:
        return True, f"flash_attention on: kv_type {kv_type} needs it"
    if streams:
        return False, "flash_attention off: on a CPU plain attention over short streams is faster"
    return True, "flash_attention on: it keeps the compute buffers of a large pool small"


def _ctx(header: Header | None, settings: Settings, reasons: list[str]) -> int:
    trained = header.number("context_length") if header else None
    if trained and trained < settings.ctx:
        reasons.append(f"ctx {trained}: the model was trained for no more")
        return trained
    return settings.ctx


def _layout(profile: HardwareProfile, kv_bytes: int, settings: Settings) -> tuple[Layout, str]:
    available = profile.memory.available
    if settings.gpu_layers:
        return "unified", "layout unified: on a GPU one pool is fastest"
    if settings.cells:
        return "unified", "layout unified: --cells sets the size of a pool"
    if available and kv_bytes > KV_SHARE * available:
        return (
            "unified",
            f"layout unified: streams would take {kv_bytes / MB:.0f} of {available / MB:.0f} MB available",
        )
    return "streams", f"layout streams: fastest on a CPU, {kv_bytes / MB:.0f} MB"


def _pool(profile: HardwareProfile, ctx: int, parallel: int, token_bytes: int) -> int:
    """Tokens in a unified pool: half the full reservation, if its share of the memory allows."""
    wanted = max(ctx, parallel * ctx // 2)
    if not profile.memory.available or not token_bytes:
        return wanted
    return max(ctx, min(wanted, int(KV_SHARE * profile.memory.available / token_bytes)))
