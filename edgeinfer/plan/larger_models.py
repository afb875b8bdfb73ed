"""Finds larger models of the catalogue that a machine would run at a good speed."""

from __future__ import annotations

import contextlib

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.available_options import options_of
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.model_choice import ModelChoice, choose
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.store import Store

GOOD_SPEED = 15.0
"""Tokens per second that answers of a larger model should have: three times as fast as one reads."""

MAX_SUGGESTIONS = 4


def larger_models(
    chosen: ModelChoice,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None = None,
    store: Store | None = None,
) -> list[ModelChoice]:
    """Return the largest chat models that fit and are fast, each in the quantization that suits, largest first."""
    specs = catalogue()
    own = specs[chosen.option.model].parameters if chosen.option.model in specs else None
    larger = sorted(
        (spec.parameters, name)
        for name, spec in specs.items()
        if spec.parameters and "chat" in spec.roles and spec.parameters > (own or 0)
    )
    found: list[ModelChoice] = []
    for _, name in reversed(larger):
        with contextlib.suppress(DoesNotFit):
            options = list(options_of(name, specs[name], store))
            choice = choose(profile, options, settings, calibration, model=name)
            if (choice.plan.speed.decode or 0) >= GOOD_SPEED:
                found.append(choice)
        if len(found) == MAX_SUGGESTIONS:
            break
    return found
