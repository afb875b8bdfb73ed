"""Chooses which model, in which quantization, a machine should run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeinfer.errors import DoesNotFit, ModelNotFound, SettingsError
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.draft_model import DraftChoice, find_draft_model
from edgeinfer.plan.engine_choice import EngineChoice, choose_engine
from edgeinfer.plan.model_option import ModelOption, RankedOption
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.plan.plan import Plan, plan_model
from edgeinfer.plan.quant_choice import choose_quant
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel

READING_SPEED = 5.0
"""Tokens per second of a slow reader. A model that is slower gives way to a smaller one."""


class ModelChoice(msgspec.Struct, frozen=True):
    """The chosen model and quantization, with the reasons. `others` are the options that were not chosen."""

    option: ModelOption
    plan: Plan
    reasons: list[str]
    others: list[RankedOption] = []


def choose(
    profile: HardwareProfile,
    options: Sequence[ModelOption],
    settings: Settings,
    calibration: Calibration | None = None,
    *,
    model: str | None = None,
    quant: str | None = None,
    beside: Sequence[ModelMemory] = (),
) -> ModelChoice:
    """Choose the best of the options for the machine.

    Models are tried in the order of `options`: the preferred one, then ever smaller ones. Options that do not fit
    are never chosen, unless `settings.force`.

    Args:
        model, quant: choose only among options of this name or quantization.
        beside: other models that are loaded, as for `make_plan`.

    Raises:
        DoesNotFit: the message has the numbers, the hint says what would fit.
        ModelNotFound: no option matches `model` and `quant`.
    """
    engine = choose_engine(profile, settings)
    offered, options = (
        options,
        [option for option in options if _suits(option, options, engine, settings, quant)],
    )
    ranked = [_ranked(option, profile, settings, calibration, beside) for option in options]
    matching = [r for r in ranked if _matches(r.option, model, quant)]
    if not matching:
        name = ":".join(part for part in (model, quant) if part) or "nothing"
        available = ", ".join(option.label for option in options) or "nothing"
        raise ModelNotFound(f"{name} is not available", param="quant", hint=f"available: {available}")
    fitting = [r for r in matching if r.fits or settings.force]
    if not fitting:
        raise _does_not_fit(matching, ranked)
    best: list[tuple[RankedOption, str]] = []
    for group in _by_model(_preferred(fitting)):
        best.append(_in_safetensors(group) or choose_quant(group, profile))
        if model or not _too_slow(best[-1][0]):
            break
    # If all are too slow, the last one is not always the fastest.
    chosen, why = max(best, key=lambda pair: pair[0].speed or 0) if _too_slow(best[-1][0]) else best[-1]
    reasons = [engine.reason] if engine.reason and any(option.folder for option in offered) else []
    reasons += _why_model(chosen, matching)
    if sum(r.option.model == chosen.option.model for r in matching) > 1:
        reasons.append(why)
    others = [replace(r, rejection=_rejection(r, chosen)) for r in ranked if r is not chosen]
    return ModelChoice(chosen.option, chosen.plan, reasons, others)


def _suits(
    option: ModelOption,
    options: Sequence[ModelOption],
    engine: EngineChoice,
    settings: Settings,
    quant: str | None,
) -> bool:
    """Tell whether an option is for the engine. GGUF files stay for what vLLM has no memory for."""
    if option.folder is None:
        return settings.engine != "vllm"
    if engine.engine == "vllm" or option.quant == (quant or "").upper():
        return True
    return all(other.folder is not None for other in options if other.model == option.model)


def _in_safetensors(group: Sequence[RankedOption]) -> tuple[RankedOption, str] | None:
    """The option for vLLM, which is not quantized, and the reason; None if there is none."""
    found = next((r for r in group if r.option.folder is not None), None)
    return (
        (
            found,
            f"quant {found.option.quant}: vLLM reads safetensors, with the weights as they were published",
        )
        if found
        else None
    )


def _ranked(
    option: ModelOption,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None,
    beside: Sequence[ModelMemory],
) -> RankedOption:
    model = LocalModel(option.model, option.path or option.label, option.header, option.tool_format)
    if option.folder is not None:
        path = option.path or option.label
        model = LocalModel(
            option.model, path, None, option.tool_format, folder=replace(option.folder, path=Path(path))
        )
    try:
        draft = find_draft_model(model, settings)
    except SettingsError as e:  # it is for another of the options
        draft = DraftChoice(problem=e.message)
    plan = plan_model(model, profile, replace(settings, force=True), calibration, beside, draft)
    return RankedOption(option, plan, free=profile.storage.free if profile.storage else None)


def _matches(option: ModelOption, model: str | None, quant: str | None) -> bool:
    return model in (None, option.model) and (quant is None or quant.upper() == option.quant.upper())


def _preferred(fitting: list[RankedOption]) -> list[RankedOption]:
    """Leave out the models that are only for machines where nothing else fits, unless this is one."""
    larger = [r for r in fitting if not r.option.bundled]
    return [r for r in larger if not r.option.fallback] or larger or fitting


def _by_model(options: Iterable[RankedOption]) -> list[list[RankedOption]]:
    """Group options by model, in the order in which the models appear."""
    groups: dict[str, list[RankedOption]] = {}
    for ranked in options:
        groups.setdefault(ranked.option.model, []).append(ranked)
    return list(groups.values())


def _too_slow(ranked: RankedOption) -> bool:
    return ranked.speed is not None and ranked.speed < READING_SPEED


def _why_model(chosen: RankedOption, matching: Sequence[RankedOption]) -> list[str]:
    """Say why the models before the chosen one were rejected, and whether the chosen one is slow."""
    problems = []
    for group in _by_model(matching):
        if group[0].option.model == chosen.option.model:
            break
        smallest = min(group, key=lambda r: r.plan.memory.needed)
        if not any(r.fits for r in group):
            problems.append(f"{smallest.option.model} {smallest.shortage}")
        elif _too_slow(smallest):
            speed = f"{smallest.speed:.1f} tok/s"
            problems.append(f"{smallest.option.model} would generate {speed}, below reading speed")
    reasons = [f"model {chosen.option.model}: {'; '.join(problems)}"] if problems else []
    if _too_slow(chosen):
        reasons.append(f"speed low: {chosen.speed:.1f} tok/s is below reading speed, and no option is faster")
    return reasons


def _rejection(ranked: RankedOption, chosen: RankedOption) -> str:
    if not ranked.fits:
        return "does not fit on the disk" if ranked.plan.fits else "does not fit"
    if ranked.option.model != chosen.option.model:
        return "below reading speed" if _too_slow(ranked) else "another model"
    return "lower quality" if ranked.rank < chosen.rank else "slower"


def _does_not_fit(matching: Sequence[RankedOption], ranked: Sequence[RankedOption]) -> DoesNotFit:
    smallest = min(matching, key=lambda r: r.plan.memory.needed)
    fitting = ", ".join(r.option.label for r in ranked if r.fits) or "no available option"
    if smallest.lacks_disk:
        hint = f"free some space, or set EDGEINFER_STORE to another disk; {fitting} would fit"
        return DoesNotFit(f"{smallest.option.label} {smallest.shortage}", param="model", hint=hint)
    return DoesNotFit(
        f"{smallest.option.label} {smallest.shortage}",
        param="model",
        hint=f"{fitting} would fit; --force tries this one anyway",
    )
