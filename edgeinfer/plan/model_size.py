"""Chooses which of a family's models a machine should run, for those who name no size: "qwen3"."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.available_options import options_of
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.model_choice import READING_SPEED, choose
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue


def largest_that_suits(
    members: Sequence[str], profile: HardwareProfile, settings: Settings, calibration: Calibration | None
) -> str | None:
    """Return the largest of the models, smallest first, that fits and answers as fast as one reads.

    If all that fit are slower, it is the smallest; None: none fits.
    """
    specs, slow = catalogue(), None
    for name in reversed(members):
        with contextlib.suppress(DoesNotFit):
            options = list(options_of(name, specs[name], None))
            choice = choose(profile, options, settings, calibration, model=name)
            if (choice.plan.speed.decode or 0) >= READING_SPEED:
                return name
            slow = name
    return slow
