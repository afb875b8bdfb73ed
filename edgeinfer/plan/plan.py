"""How one model runs best on one machine. Pure: facts in, a plan out, with the reason for every choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import DoesNotFit, SettingsError
from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan import calibration as calibrations
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.fit import QUANTIZED, Fit, MemoryBudget, budget, fit
from edgeinfer.plan.gpu_placement import GpuPlacement, placement
from edgeinfer.plan.memory_estimate import MemoryEstimate
from edgeinfer.plan.own_memory import HeldMemory, ModelMemory, without_memory
from edgeinfer.plan.reasons import MB, reasons
from edgeinfer.plan.speed import Speed, instruction_sets, predict
from edgeinfer.plan.threads import threads
from edgeinfer.plan.transformer_shape import network
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel, find_model
from edgeinfer.store.store import Store


class Plan(msgspec.Struct, frozen=True):
    """A resolved configuration, and why it is so: one sentence for each choice that was ours.

    Attributes:
        tool_format: the catalogue's word on how the model writes tool calls; None leaves it to its template.
        memory: what it will take.
        budget: what there is to take.
        fits: whether the one goes into the other; None where the machine's memory is not known.
        backend: what computes.
    """

    config: LlamaConfig
    reasons: list[str]
    tool_format: str | None = None
    memory: MemoryEstimate = MemoryEstimate(0)
    budget: MemoryBudget = MemoryBudget(None)
    speed: Speed = Speed()
    fits: bool | None = None
    backend: Literal["llama.cpp"] = "llama.cpp"


def make_plan(
    settings: Settings, profile: HardwareProfile | None = None, beside: Sequence[ModelMemory] = ()
) -> Plan:
    """Plan the model that the settings name, with what was measured on this machine.

    Args:
        profile: the machine as it is, with the memory of loaded models not available; None: detect it.
        beside: models that are loaded and stay. What they count on and have not taken yet is left to them, and
            what they take counts against `memory_limit_mb`.

    Raises:
        ModelNotFound, ModelLoadFailed: the model is not there, or is no GGUF file.
        SettingsError: settings that contradict each other.
        DoesNotFit: settings ask for more than the machine has.
    """
    store = Store.of(settings)
    model = find_model(settings.model, store)
    profile = profile or detect()
    return plan(model, profile, settings, calibrations.load(store.root, profile), beside)


def plan(
    model: LocalModel,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None = None,
    beside: Sequence[ModelMemory] = (),
) -> Plan:
    """Plan a model as make_plan does, from facts alone."""
    profile = without_memory(profile, sum((other.pending for other in beside), HeldMemory()))
    header = model.header
    place = _place(profile, settings)
    threading = threads(profile, header, calibration, settings.threads)
    base = LlamaConfig(
        model=model.path,
        name=model.name,
        ctx=_ctx(header, settings),
        threads=threading.count,
        cpus=threading.cpus,
        step_ms=settings.step_ms,
    )
    _check(base, settings)
    room = budget(profile, place, _limit(settings, beside))
    found = fit(base, header, settings, room, instruction_sets(profile), place.gpu, daemon_runs=bool(beside))
    if found.fits is False and not settings.force:
        _refuse(found, room, profile, settings)
    return Plan(
        config=found.config,
        reasons=reasons(found, room, settings, threading, place, header, beside),
        tool_format=model.tool_format,
        memory=found.memory,
        budget=room,
        speed=predict(header, found.config.gpu_layers, profile, calibration, place.gpu),
        fits=found.fits,
    )


def _limit(settings: Settings, beside: Sequence[ModelMemory]) -> int | None:
    """Bytes of `memory_limit_mb` that the models beside leave."""
    if settings.memory_limit_mb is None:
        return None
    return max(0, round(settings.memory_limit_mb * MB) - sum(other.predicted.model for other in beside))


def _place(profile: HardwareProfile, settings: Settings) -> GpuPlacement:
    """The GPU that is of use; where layers are put on one by hand, the first there is."""
    if settings.gpu_layers == 0:
        return GpuPlacement()
    found = placement(profile)
    if settings.gpu_layers and found.gpu is None:
        forced: Gpu | None = profile.gpus[0] if profile.gpus else None
        return GpuPlacement(forced)
    return found


def _ctx(header: Header | None, settings: Settings) -> int:
    trained = network(header).context
    return min(trained, settings.ctx) if trained else settings.ctx


def _check(base: LlamaConfig, settings: Settings) -> None:
    """Settings that contradict each other."""
    if settings.cells is not None and settings.layout == "streams":
        raise SettingsError(
            "cells is the size of a unified pool, and the layout is streams",
            param="cells",
            hint="leave out --cells or --layout streams",
        )
    if settings.cells is not None and settings.cells < base.ctx:
        raise SettingsError(
            f"cells {settings.cells} can't hold one context of {base.ctx} tokens",
            param="cells",
            hint="raise --cells or lower --ctx",
        )
    if settings.flash_attention is False and settings.kv_type in QUANTIZED:
        raise SettingsError(
            f"kv_type {settings.kv_type} needs flash attention",
            param="kv_type",
            hint="add --flash-attention, or take f16",
        )


SIZES = ("ctx", "parallel", "cells", "layout", "kv_type", "gpu_layers", "model")
"""Settings that memory depends on."""


def _refuse(found: Fit, room: MemoryBudget, profile: HardwareProfile, settings: Settings) -> None:
    """What was asked for by hand, and is more than the machine has in all, would only die while it loads.

    What is more than is available just now may go well, and is up to whoever starts it.
    """
    memory, name = found.memory, found.config.name
    if room.gpu is not None and settings.gpu_layers and memory.gpu > room.gpu:
        raise DoesNotFit(
            f"{name} would take {memory.gpu / MB:.0f} MB of the GPU's memory, {room.gpu / MB:.0f} may be taken",
            param="gpu_layers",
            hint="lower --gpu-layers or leave it out; --force tries it",
        )
    given = [name for name in SIZES if getattr(settings, name) != getattr(Settings(), name)]
    if settings.memory_limit_mb is not None and memory.model > settings.memory_limit_mb * MB:
        raise DoesNotFit(
            f"{name} takes {memory.model / MB:.0f} MB, and memory_limit_mb allows {settings.memory_limit_mb} for "
            "all models",
            param="memory_limit_mb",
            hint="raise --memory-limit-mb or choose a smaller model; --force loads it anyway",
        )
    most = profile.memory.limit or profile.memory.total
    if given and most is not None and memory.needed > most:
        less = "take a smaller model" if given == ["model"] else f"leave out --{given[0].replace('_', '-')}"
        raise DoesNotFit(
            f"{name} would take {memory.needed / MB:.0f} MB like this, and there are {most / MB:.0f}",
            param=given[0],
            hint=f"{less}; --force tries it",
        )
