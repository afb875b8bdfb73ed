"""Files that a machine could run, and the plan for each."""

from __future__ import annotations

import msgspec

from edgeinfer.gguf.header import Header
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.reasons import MB, shortage
from edgeinfer.safetensors.folder import ModelFolder
from edgeinfer.store.free_space import RESERVED_BYTES

QUALITY = (
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"),
    *("IQ4_XS", "Q4_0", "IQ4_NL", "Q4_1", "Q4_K_S", "Q4_K_M"),
    *("Q5_0", "Q5_1", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "F16", "F32"),
)
"""Quantizations, from lowest to highest quality."""


class ModelOption(msgspec.Struct, frozen=True):
    """A model file that is installed, or could be.

    Attributes:
        header: read from the file, or predicted from the model's shape.
        size: bytes of the file.
        path: None if it is not installed yet.
        bundled: it comes with edgeinfer, as the last resort where nothing else fits.
        folder: what its folder with safetensors says, read or predicted; None for a GGUF file.
        fallback: it understands so little that it is taken only where no larger one fits, however slow that is.
    """

    model: str
    quant: str
    header: Header
    size: int
    licence: str = ""
    path: str | None = None
    tool_format: str | None = None
    bundled: bool = False
    fallback: bool = False
    folder: ModelFolder | None = None

    @property
    def label(self) -> str:
        return f"{self.model}:{self.quant}"


class RankedOption(msgspec.Struct, frozen=True):
    """An option with its plan.

    Attributes:
        rejection: why it was not chosen; None for the one that was.
        free: bytes free on the disk of the models; None if unknown.
    """

    option: ModelOption
    plan: Plan
    rejection: str | None = None
    free: int | None = None

    @property
    def rank(self) -> int:
        """Position of its quantization in QUALITY; -1 if it is unknown."""
        return QUALITY.index(self.option.quant) if self.option.quant in QUALITY else -1

    @property
    def speed(self) -> float | None:
        """Predicted tokens per second; None if unknown."""
        return self.plan.speed.decode

    @property
    def fits(self) -> bool:
        """True unless it is known not to fit, into memory or on the disk."""
        return self.plan.fits is not False and not self.lacks_disk

    @property
    def lacks_disk(self) -> bool:
        """True if its file is not installed, and larger than what is free."""
        needed = 0 if self.option.path else self.option.size + RESERVED_BYTES
        return self.free is not None and needed > self.free

    @property
    def shortage(self) -> str:
        """Says what an option that does not fit needs, and what can be used."""
        if self.plan.fits is not False and self.lacks_disk:
            return f"takes {self.option.size / MB:,.0f} MB on the disk, only {(self.free or 0) / MB:,.0f} MB are free"
        return shortage(self.plan.memory, self.plan.budget)
