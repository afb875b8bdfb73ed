"""Plans several models on one machine: which fit together, and how many must be unloaded for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.model_choice import ModelChoice, choose
from edgeinfer.plan.model_option import ModelOption
from edgeinfer.plan.own_memory import HeldMemory, ModelMemory, with_memory
from edgeinfer.plan.plan import Plan, plan_model
from edgeinfer.plan.reasons import shortage
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel


class Eviction(msgspec.Struct, frozen=True):
    """A model's plan, and the number of idle models that must be unloaded first."""

    plan: Plan
    count: int


class ModelOptions(msgspec.Struct, frozen=True):
    """Arguments of `choose` for one of several models."""

    model: str | None
    quant: str | None
    options: Sequence[ModelOption]
    settings: Settings


def fits_beside(plan: Plan, running: ModelMemory) -> bool:
    """Tell whether a plan that counts on `running` being gone fits while it is still loaded.

    If the machine's memory is unknown, it does not.
    """
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
        profile: the machine as it is now, where memory of loaded models is not available.
        idle: models that may be unloaded, in this order.
        busy: models that stay.

    Raises:
        DoesNotFit: it would not fit with all idle models unloaded, and `settings.force` is not set.
    """
    for count in range(len(idle) + 1):
        freed = sum((other.held for other in idle[:count]), HeldMemory())
        plan = plan_model(
            model, with_memory(profile, freed), settings, calibration, beside=[*busy, *idle[count:]]
        )
        if plan.fits is not False:
            break
    if plan.fits is False and not settings.force:
        raise _does_not_fit(plan, len(busy))
    return Eviction(plan, count)


def plan_several(
    models: Mapping[str, tuple[LocalModel, Settings]],
    profile: HardwareProfile,
    calibration: Calibration | None = None,
) -> dict[str, Plan | DoesNotFit]:
    """Plan models in their order, each with what those before it leave. One that does not fit takes nothing."""
    plans: dict[str, Plan | DoesNotFit] = {}
    loaded: list[ModelMemory] = []
    for name, (model, settings) in models.items():
        try:
            plan = plan_evicting(model, profile, settings, calibration, busy=loaded).plan
        except DoesNotFit as e:
            plans[name] = e
            continue
        plans[name] = plan
        loaded.append(ModelMemory(plan.memory))
    return plans


def choose_several(
    models: Sequence[ModelOptions], profile: HardwareProfile, calibration: Calibration | None = None
) -> list[ModelChoice | DoesNotFit]:
    """Choose a quantization of each model in turn, with what those before it leave.

    Raises:
        ModelNotFound: no option of a model matches its name and quantization.
    """
    choices: list[ModelChoice | DoesNotFit] = []
    loaded: list[ModelMemory] = []
    for m in models:
        try:
            choice = choose(
                profile, m.options, m.settings, calibration, model=m.model, quant=m.quant, beside=loaded
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
