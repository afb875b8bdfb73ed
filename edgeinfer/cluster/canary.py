"""A new version of a fleet's model, beside the present one."""

from __future__ import annotations

import msgspec

MARK = ".canary"
"""The end of the name of an application that serves a canary. No hardware class ends so."""


class Canary(msgspec.Struct, frozen=True):
    """A version of the model that is tried.

    Attributes:
        model: its name.
        weight: the percentage of the conversations for the fleet's own model that it answers.
        replicas: of each hardware class, beside those of the own model.
    """

    model: str
    weight: float
    replicas: int = 1
