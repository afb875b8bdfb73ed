"""Sampling values that a model's makers recommend, as the catalogue gives them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class RecommendedSampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Values by the names of SamplingParams. None: the makers say nothing."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    top_p: Fraction | None = None
    min_p: Fraction | None = None
    typical_p: Fraction | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None

    def values(self) -> dict[str, float]:
        """Return the values that are recommended."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class SamplingDefaults(msgspec.Struct, frozen=True):
    """The recommendations for a model.

    Attributes:
        sampling: values for answers; for those after thinking, if the model thinks.
        without_thinking: values for answers of a thinking model that was told not to think; empty: the same.
        system_prompt: False: the makers advise against a system prompt. None is ever added, and a request's own is kept.
    """

    sampling: dict[str, float] = {}
    without_thinking: dict[str, float] = {}
    system_prompt: bool = True

    def values(self, *, thinks: bool) -> dict[str, float]:
        """Return the values for an answer."""
        return self.sampling if thinks or not self.without_thinking else self.without_thinking
