"""Plans how a model runs best on a machine. Pure: facts in, a plan out, with the reason for every choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.errors import DoesNotFit, InvalidRequest, ModelLoadFailed, SettingsError
from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.vllm_program import find_vllm
from edgeinfer.plan import calibration as calibrations
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.context import default_context, with_larger_context
from edgeinfer.plan.determinism import (
    answers,
    determinism_reasons,
    one_at_a_time,
    why_not_by_row,
    with_determinism,
)
from edgeinfer.plan.draft_model import NO_DRAFT, DraftChoice, find_draft_model, with_draft_model
from edgeinfer.plan.engine_choice import INSTALL_VLLM
from edgeinfer.plan.fit import QUANTIZED_KV, Fit, fit
from edgeinfer.plan.gpu_placement import GpuPlacement, choose_gpu
from edgeinfer.plan.kernels import computes_attention
from edgeinfer.plan.memory_budget import MemoryBudget, memory_budget
from edgeinfer.plan.memory_estimate import MemoryEstimate
from edgeinfer.plan.own_memory import HeldMemory, ModelMemory, without_memory
from edgeinfer.plan.ram_cache import with_ram_cache
from edgeinfer.plan.reasons import MB, reasons
from edgeinfer.plan.speed import Speed, instruction_sets, predict
from edgeinfer.plan.threads import choose_threads
from edgeinfer.plan.vllm_plan import plan_vllm
from edgeinfer.safetensors.folder import ModelFolder
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel, find_model
from edgeinfer.store.sampling_defaults import SamplingDefaults
from edgeinfer.store.store import Store


class Plan(msgspec.Struct, frozen=True):
    """A resolved configuration with the reason for each automatic choice.

    Attributes:
        tool_format: how the model writes tool calls, from the catalogue; None leaves it to its template.
        defaults: what the catalogue recommends for sampling.
        memory: memory that the model will take.
        budget: memory that it may take.
        fits: the memory is within the budget; None if the machine's memory is unknown.
        draft_problem: why there is no draft model, though one is asked for.
    """

    config: LlamaConfig | VllmConfig
    reasons: list[str]
    tool_format: str | None = None
    defaults: SamplingDefaults = SamplingDefaults()
    memory: MemoryEstimate = MemoryEstimate(0)
    budget: MemoryBudget = MemoryBudget(None)
    speed: Speed = Speed()
    fits: bool | None = None
    draft_problem: str = ""

    @property
    def backend(self) -> Literal["llama.cpp", "vllm"]:
        return "vllm" if isinstance(self.config, VllmConfig) else "llama.cpp"

    @property
    def llama(self) -> LlamaConfig:
        """The configuration of llama.cpp. Raises InvalidRequest for a model that vLLM computes."""
        if isinstance(self.config, VllmConfig):
            raise InvalidRequest(
                f"{self.config.name} is a model for vLLM, and this is only for llama.cpp",
                param="model",
                hint="name a GGUF file, or a model that is installed as one",
            )
        return self.config


def make_plan(
    settings: Settings, profile: HardwareProfile | None = None, beside: Sequence[ModelMemory] = ()
) -> Plan:
    """Plan the model that the settings name, with what was measured on this machine.

    Args:
        profile: the machine as it is, where memory of loaded models is not available; None detects it.
        beside: models that stay loaded. Memory they were planned to take and have not taken yet is left to them,
            and all they take counts against `memory_limit_mb`.

    Raises:
        ModelNotFound, ModelLoadFailed: the model is not installed, or not a sound GGUF file.
        SettingsError: settings that contradict each other.
        DoesNotFit: settings ask for more than the machine has.
    """
    store = Store.of(settings)
    name, settings = settings.default_model()
    model = find_model(settings.model, store, in_safetensors=settings.engine == "vllm")
    if name is None:
        settings = settings.for_default(model.name)
    profile = profile or detect()
    calibration = calibrations.load(store.root, profile)
    return plan_model(model, profile, settings, calibration, beside, find_draft_model(model, settings))


def plan_model(
    model: LocalModel,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None = None,
    beside: Sequence[ModelMemory] = (),
    draft: DraftChoice = NO_DRAFT,
) -> Plan:
    """Plan a model as make_plan does, from facts alone. `draft`: what `find_draft_model` has found for it."""
    profile = without_memory(profile, sum((other.pending for other in beside), HeldMemory()))
    if model.folder is not None:
        return _plan_folder(model, model.folder, profile, settings, beside)
    if settings.engine == "vllm" and model.header is not None:
        raise SettingsError(
            f"engine is vllm, and {model.name} is a GGUF file, which vLLM does not read",
            param="engine",
            hint="name a folder with safetensors, or leave engine out",
        )
    plan = _plan_file(model, profile, settings, calibration, beside, draft)
    reason = why_not_by_row(plan.llama, model.header, profile)
    wanted = settings.deterministic and answers(plan.llama, model.header)
    if wanted and reason and plan.llama.determinism == "none":
        if draft.header:
            draft = DraftChoice(problem="deterministic answers are not guessed for")
        settings = one_at_a_time(settings, plan.llama, reason)
        plan = _plan_file(model, profile, settings, calibration, beside, draft)
    tuning = calibration.tuning(model.path, model.header) if calibration else None
    if tuning and tuning.changes and tuning.suits(plan.llama, settings):
        tuned = _plan_file(model, profile, tuning.applied(settings), calibration, beside, draft)
        if _promises(tuned) == _promises(plan):
            return replace(tuned, reasons=[*tuning.reasons(), *tuned.reasons])
    return plan


def _promises(plan: Plan) -> tuple[bool | None, int, str]:
    """Return what faster settings must not cost: that the model fits, answers at a time, and their independence."""
    return plan.fits, plan.llama.parallel, plan.llama.determinism


def _plan_file(
    model: LocalModel,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None,
    beside: Sequence[ModelMemory],
    draft: DraftChoice,
) -> Plan:
    """Plan a model in a GGUF file, as the settings say."""
    header = model.header
    placement = _placement(profile, settings)
    threads = choose_threads(profile, header, calibration, settings.threads)
    base = LlamaConfig(
        model=model.path,
        name=model.name,
        ctx=default_context(header, settings),
        threads=threads.count,
        cpus=threads.cpus,
        step_ms=settings.step_ms,
        max_draft=settings.max_draft,
        flash_attention=computes_attention(profile, header),
        reranks=bool(header and header.reranks),
    )
    _check(base, settings)
    limit, isa = _limit(settings, beside), instruction_sets(profile)

    def fitted(place: GpuPlacement) -> Fit:
        config, budget = replace(base, main_gpu=place.main_gpu), memory_budget(profile, place, limit)
        return fit(config, header, settings, budget, isa, place.gpu, daemon_runs=bool(beside))

    best = fitted(placement)
    for other in placement.others():
        if best.fits is not False and best.config.gpu_layers < 0:
            break
        if _share(found := fitted(other)) > _share(best):
            placement, best = other, found
    budget = memory_budget(profile, placement, limit)
    gpu, daemon_runs = placement.gpu, bool(beside)
    best, draft = with_draft_model(best, header, draft, budget, isa, gpu, daemon_runs=daemon_runs)
    best = with_larger_context(
        best, header, settings, budget, isa, gpu, daemon_runs=daemon_runs, draft=draft.header
    )
    best = with_ram_cache(best, header, settings, budget)
    if best.config.gpu_layers < 0:
        threads = choose_threads(profile, header, calibration, settings.threads, on_gpu=True)
        config = replace(best.config, threads=threads.count, cpus=threads.cpus)
        best = replace(best, config=config)
    best = with_determinism(best, header, profile, settings)
    if best.fits is False and not settings.force:
        _refuse(best, budget, profile, settings)
    return Plan(
        config=best.config,
        reasons=[
            *reasons(best, budget, settings, threads, placement, header, beside, draft),
            *determinism_reasons(best.config, header, profile),
        ],
        tool_format=model.tool_format,
        defaults=model.defaults,
        memory=best.memory,
        budget=budget,
        speed=predict(
            header, best.config.gpu_layers, profile, calibration, placement.gpu, best.config.threads
        ),
        fits=best.fits,
        draft_problem=draft.problem,
    )


def _plan_folder(
    model: LocalModel,
    folder: ModelFolder,
    profile: HardwareProfile,
    settings: Settings,
    beside: Sequence[ModelMemory],
) -> Plan:
    """Plan a model in safetensors, which only vLLM reads."""
    if settings.deterministic:
        raise SettingsError(
            f"vLLM computes {model.name}, and its answers may depend on each other",
            param="deterministic",
            hint="name a GGUF file, or leave deterministic out",
        )
    if settings.engine == "llama.cpp":
        raise SettingsError(
            f"engine is llama.cpp, and {model.name} is a folder with safetensors, which llama.cpp does not read",
            param="engine",
            hint="name a GGUF file, or leave engine out",
        )
    command = find_vllm(settings.vllm_command)
    if command is None:
        where = (
            f"there is no program vllm at {settings.vllm_command}"
            if settings.vllm_command
            else "vLLM is not installed"
        )
        raise ModelLoadFailed(
            f"{where}, and nothing else reads {model.name}", param="engine", hint=INSTALL_VLLM
        )
    best = plan_vllm(folder, model.name, command, profile, settings, beside)
    return Plan(
        config=best.config,
        reasons=[f"engine vllm: {model.name} is a folder with safetensors", *best.reasons],
        tool_format=model.tool_format,
        defaults=model.defaults,
        memory=best.memory,
        budget=best.budget,
        fits=best.fits,
    )


def _share(fit: Fit) -> tuple[bool, float]:
    """Return how much of a model its GPU takes: first that it fits, then the layers, where all are the most."""
    layers = fit.config.gpu_layers
    return fit.fits is not False, layers if layers >= 0 else math.inf


def _limit(settings: Settings, beside: Sequence[ModelMemory]) -> int | None:
    """Return the bytes of `memory_limit_mb` that other models leave."""
    if settings.memory_limit_mb is None:
        return None
    taken = sum(other.predicted.model + other.predicted.ram_cache for other in beside)
    return max(0, round(settings.memory_limit_mb * MB) - taken)


def _placement(profile: HardwareProfile, settings: Settings) -> GpuPlacement:
    """Return the GPU that is worth using; if the settings put layers on one, the first."""
    if settings.gpu_layers == 0:
        return GpuPlacement()
    placement = choose_gpu(profile)
    if settings.gpu_layers and placement.gpu is None:
        forced: Gpu | None = profile.gpus[0] if profile.gpus else None
        return GpuPlacement(forced)
    return placement


def _check(base: LlamaConfig, settings: Settings) -> None:
    """Raise SettingsError for settings that contradict each other."""
    if settings.cells is not None and settings.layout == "streams":
        raise SettingsError(
            "cells sets the size of a unified pool, but the layout is streams",
            param="cells",
            hint="leave out --cells or --layout streams",
        )
    if settings.cells is not None and settings.cells < base.ctx:
        raise SettingsError(
            f"cells {settings.cells} cannot hold one context of {base.ctx} tokens",
            param="cells",
            hint="raise --cells or lower --ctx",
        )
    if settings.flash_attention is False and settings.kv_type in QUANTIZED_KV:
        raise SettingsError(
            f"kv_type {settings.kv_type} needs flash attention",
            param="kv_type",
            hint="add --flash-attention or use f16",
        )


SIZES = ("ctx", "parallel", "cells", "layout", "kv_type", "gpu_layers", "model")
"""Settings that memory depends on."""


def _refuse(best: Fit, budget: MemoryBudget, profile: HardwareProfile, settings: Settings) -> None:
    """Raise DoesNotFit for settings that ask for more than the machine has in all: loading would fail.

    More than is available now may still go well, and is left to the user.
    """
    memory, name = best.memory, best.config.name
    if budget.gpu is not None and settings.gpu_layers and memory.gpu > budget.gpu:
        raise DoesNotFit(
            f"{name} needs {memory.gpu / MB:.0f} MB of GPU memory, only {budget.gpu / MB:.0f} MB can be used",
            param="gpu_layers",
            hint="lower --gpu-layers or leave it out; --force tries it anyway",
        )
    changed = [name for name in SIZES if getattr(settings, name) != getattr(Settings(), name)]
    if settings.memory_limit_mb is not None and memory.model > settings.memory_limit_mb * MB:
        raise DoesNotFit(
            f"{name} needs {memory.model / MB:.0f} MB, and memory_limit_mb allows {settings.memory_limit_mb} MB for "
            "all models",
            param="memory_limit_mb",
            hint="raise --memory-limit-mb or choose a smaller model; --force tries it anyway",
        )
    size = profile.memory.limit or profile.memory.total
    if changed and size is not None and memory.needed > size:
        smaller = (
            "choose a smaller model"
            if changed == ["model"]
            else f"leave out --{changed[0].replace('_', '-')}"
        )
        raise DoesNotFit(
            f"{name} needs {memory.needed / MB:.0f} MB with these settings, and there are {size / MB:.0f} MB in all",
            param=changed[0],
            hint=f"{smaller}; --force tries it anyway",
        )
