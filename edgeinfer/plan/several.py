"""Several models on one machine: which of them fit together, and how many must go for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.model_choice import ModelChoice, choose
from edgeinfer.plan.model_option import ModelOption
from edgeinfer.plan.own_memory import HeldMemory, ModelMemory, with_memory
from edgeinfer.plan.plan import Plan, plan
from edgeinfer.plan.reasons import shortage
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel


class Eviction(msgspec.Struct, frozen=True):
    """How a model gets its memory: its plan, and how many idle models must be unloaded first."""

    plan: Plan
    count: int


class ModelOptions(msgspec.Struct, frozen=True):
    """A model to choose a quantization of, for `choose_several`; `choose` has the meaning of each."""

    model: str | None
    quant: str | None
    offers: Sequence[ModelOption]
    settings: Settings


def fits_beside(plan: Plan, running: ModelMemory) -> bool:
    """Tell whether a plan that reckons with `running` gone fits while it is still there. Unknown means no."""
    budget, memory, held = plan.budget, plan.memory, running.held
    if budget.ram is None or memory.needed > budget.ram - held.ram:
        return False
    if budget.limit is not None and memory.model > budget.limit - running.predicted.model:
        return False
    return budget.gpu is None or memory.gpu <= budget.gpu - held.gpu


def plan_evicting(
    model: LocalModel,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None = None,
    *,
    idle: Sequence[ModelMemory] = (),
    busy: Sequence[ModelMemory] = (),
) -> Eviction:
    """Plan a model with as few of the loaded ones unloaded as possible.

    Args:
        profile: the machine as it is now, with the memory of all loaded models not available.
        idle: models that may be unloaded, the first one first.
        busy: models that stay.

    Raises:
        DoesNotFit: it would not fit with all idle ones unloaded, and `settings.force` is not set.
    """
    for count in range(len(idle) + 1):
        freed = sum((other.held for other in idle[:count]), HeldMemory())
        beside = [*busy, *idle[count:]]
        found = plan(model, with_memory(profile, freed), settings, calibration, beside)
        if found.fits is not False:
            break
    if found.fits is False and not settings.force:
        raise _does_not_fit(found, len(busy))
    return Eviction(found, count)


def plan_several(
    models: Mapping[str, tuple[LocalModel, Settings]],
    profile: HardwareProfile,
    calibration: Calibration | None = None,
) -> dict[str, Plan | DoesNotFit]:
    """Plan models in their order, each with what those before it leave; one that does not fit takes nothing."""
    plans: dict[str, Plan | DoesNotFit] = {}
    loaded: list[ModelMemory] = []
    for name, (model, settings) in models.items():
        try:
            planned = plan_evicting(model, profile, settings, calibration, busy=loaded).plan
        except DoesNotFit as e:
            plans[name] = e
            continue
        plans[name] = planned
        loaded.append(ModelMemory(planned.memory))
    return plans


def choose_several(
    wanted: Sequence[ModelOptions], profile: HardwareProfile, calibration: Calibration | None = None
) -> list[ModelChoice | DoesNotFit]:
    """Choose a quantization of each model in turn, with what those before it leave.

    Raises:
        ModelNotFound: what one of them names is not offered.
    """
    choices: list[ModelChoice | DoesNotFit] = []
    loaded: list[ModelMemory] = []
    for one in wanted:
        try:
            choice = choose(
                profile,
                one.offers,
                one.settings,
                calibration,
                model=one.model,
                quant=one.quant,
                beside=loaded,
            )
        except DoesNotFit as e:
            choices.append(e)
            continue
        choices.append(choice)
        loaded.append(ModelMemory(choice.plan.memory))
    return choices


def _does_not_fit(plan: Plan, others: int) -> DoesNotFit:
    beside = f" beside {others} other model{'s' if others > 1 else ''}" if others else ""
    return DoesNotFit(
        f"{plan.config.name} does not fit{beside}: it {shortage(plan.memory, plan.budget)}",
        param="model",
        hint="unload a model, choose a smaller one or a smaller --ctx; --force loads it anyway",
    )
