"""Plans several models on one machine: which of them fit together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.model_choice import ModelChoice, choose
from edgeinfer.plan.model_option import ModelOption
from edgeinfer.plan.own_memory import ModelMemory
from edgeinfer.plan.plan import Plan
from edgeinfer.settings import Settings


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
