"""Which model, in which quantization, to install on a machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from edgeinfer.errors import DoesNotFit, ModelNotFound
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.model_option import ModelOption, RankedOption
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.plan.plan import Plan, plan
from edgeinfer.plan.quant_choice import quantization
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel

READING = 5.0
"""Tokens a second of a slow reader. A model that is slower gives way to a smaller one."""


class ModelChoice(msgspec.Struct, frozen=True):
    """`reasons`: why this model in this quantization. `others`: the offers that were not taken."""

    offer: ModelOption
    plan: Plan
    reasons: list[str]
    others: list[RankedOption] = []


def choose(
    profile: HardwareProfile,
    offers: Sequence[ModelOption],
    settings: Settings,
    calibration: Calibration | None = None,
    *,
    model: str | None = None,
    quant: str | None = None,
    beside: Sequence[ModelMemory] = (),
) -> ModelChoice:
    """The best of the offers for the machine.

    Models are tried in the order in which `offers` has them: the wanted one, then ever smaller ones. `model` and
    `quant` leave no choice but what they name. `beside` are models that share the
    memory. What does not fit is not taken, unless `settings.force`.

    Raises:
        DoesNotFit: the message has the numbers, the hint says what would fit.
        ModelNotFound: what `model` and `quant` name is not offered.
    """
    everything = [_candidate(offer, profile, settings, calibration, beside) for offer in offers]
    wanted = [c for c in everything if _named(c.offer, model, quant)]
    if not wanted:
        what = ":".join(part for part in (model, quant) if part) or "nothing"
        there = ", ".join(offer.label for offer in offers) or "nothing"
        raise ModelNotFound(f"{what} is not offered", param="quant", hint=f"there is {there}")
    fitting = [c for c in wanted if c.fits or settings.force]
    if not fitting:
        raise _does_not_fit(wanted, everything)
    best: list[tuple[RankedOption, str]] = []
    for group in _by_model([c for c in fitting if not c.offer.bundled] or fitting):
        best.append(quantization(group, profile))
        if model or not _too_slow(best[-1][0]):
            break
    # Where all are too slow, the last is not always the fastest.
    taken, why = max(best, key=lambda found: found[0].speed or 0) if _too_slow(best[-1][0]) else best[-1]
    reasons = _why_model(taken, wanted)
    if sum(c.offer.model == taken.offer.model for c in wanted) > 1:
        reasons.append(why)
    others = [replace(c, against=_against(c, taken)) for c in everything if c is not taken]
    return ModelChoice(taken.offer, taken.plan, reasons, others)


def _candidate(
    offer: ModelOption,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None,
    beside: Sequence[ModelMemory],
) -> RankedOption:
    model = LocalModel(offer.model, offer.path or offer.label, offer.header, offer.tool_format)
    return RankedOption(offer, plan(model, profile, replace(settings, force=True), calibration, beside))


def _named(offer: ModelOption, model: str | None, quant: str | None) -> bool:
    return model in (None, offer.model) and (quant is None or quant.upper() == offer.quant.upper())


def _by_model(candidates: Iterable[RankedOption]) -> list[list[RankedOption]]:
    """In the order in which the models come first."""
    groups: dict[str, list[RankedOption]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.offer.model, []).append(candidate)
    return list(groups.values())


def _too_slow(candidate: RankedOption) -> bool:
    return candidate.speed is not None and candidate.speed < READING


def _why_model(taken: RankedOption, wanted: Sequence[RankedOption]) -> list[str]:
    """What spoke against the models that came before; what speaks against this one."""
    said = []
    for group in _by_model(wanted):
        if group[0].offer.model == taken.offer.model:
            break
        least = min(group, key=lambda c: c.plan.memory.needed)
        if not any(c.fits for c in group):
            said.append(f"{least.offer.model} {least.shortage}")
        elif _too_slow(least):
            said.append(f"{least.offer.model} would write {least.speed:.1f} tok/s, slower than one reads")
    reasons = [f"model {taken.offer.model}: {'; '.join(said)}"] if said else []
    if _too_slow(taken):
        reasons.append(
            f"speed low: {taken.speed:.1f} tok/s is slower than one reads, and nothing offered is faster"
        )
    return reasons


def _against(candidate: RankedOption, taken: RankedOption) -> str:
    if not candidate.fits:
        return "does not fit"
    if candidate.offer.model != taken.offer.model:
        return "slower than one reads" if _too_slow(candidate) else "another model"
    return "coarser" if candidate.rank < taken.rank else "slower"


def _does_not_fit(wanted: Sequence[RankedOption], everything: Sequence[RankedOption]) -> DoesNotFit:
    least = min(wanted, key=lambda c: c.plan.memory.needed)
    would = ", ".join(c.offer.label for c in everything if c.fits) or "nothing that is offered"
    return DoesNotFit(
        f"{least.offer.label} {least.shortage}",
        param="model",
        hint=f"{would} would fit; --force tries this one",
    )
