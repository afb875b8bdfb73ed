"""What can be chosen from: files, and the plan for each."""

from __future__ import annotations

import msgspec

from edgeinfer.gguf.header import Header
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.reasons import shortage

QUALITY = (
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"),
    *("IQ4_XS", "Q4_0", "IQ4_NL", "Q4_1", "Q4_K_S", "Q4_K_M"),
    *("Q5_0", "Q5_1", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "F16", "F32"),
)
"""Quantizations, the coarsest first."""


class ModelOption(msgspec.Struct, frozen=True):
    """A file that could be installed, or is.

    Attributes:
        header: read from the file, or predicted from the model's shape.
        size: bytes of the file.
        path: where it lies; None where it does not yet.
        bundled: it comes with edgeinfer, and is what is left where nothing else fits.
    """

    model: str
    quant: str
    header: Header
    size: int
    licence: str = ""
    path: str | None = None
    tool_format: str | None = None
    bundled: bool = False

    @property
    def label(self) -> str:
        return f"{self.model}:{self.quant}"


class RankedOption(msgspec.Struct, frozen=True):
    """An offer with its plan. `against`: why it was not taken; None for the one that was."""

    offer: ModelOption
    plan: Plan
    against: str | None = None

    @property
    def rank(self) -> int:
        """Of its quantization among all; -1 for one that is not known."""
        return QUALITY.index(self.offer.quant) if self.offer.quant in QUALITY else -1

    @property
    def speed(self) -> float | None:
        """Tokens a second."""
        return self.plan.speed.decode

    @property
    def fits(self) -> bool:
        """As far as is known."""
        return self.plan.fits is not False

    @property
    def shortage(self) -> str:
        """What it needs and what there is, for one that does not fit."""
        return shortage(self.plan.memory, self.plan.budget)
