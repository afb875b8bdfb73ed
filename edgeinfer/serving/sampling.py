"""The sampling parameters of a request: its own values, then the model's, then the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo

SAMPLING_NAMES = frozenset(field.name for field in msgspec.structs.fields(SamplingParams))

WHOLE_NUMBERS = frozenset({"top_k", "repeat_last_n"})


def resolve_sampling(
    values: Mapping[str, Any], info: ModelInfo, recommended: Mapping[str, float] = MappingProxyType({})
) -> SamplingParams:
    """Complete parameters: the request's own come first, then the file's, the catalogue's, and the defaults.

    Args:
        values: those that the request has, by the names of SamplingParams.
        recommended: the catalogue's for this model.

    Raises:
        InvalidRequest: logit_bias names a token that the model does not have.
    """
    for token in values.get("logit_bias", ()):
        if token >= info.vocab_size:
            raise InvalidRequest(
                f"token {token} is outside the vocabulary of {info.vocab_size}", param=f"logit_bias.{token}"
            )
    return SamplingParams(**{**recommended_sampling(info, recommended), **values})


def recommended_sampling(info: ModelInfo, recommended: Mapping[str, float]) -> dict[str, Any]:
    """Values for a request that says nothing, in the types of SamplingParams; GGUF may write a top_k of 40.0."""
    return {
        name: int(value) if name in WHOLE_NUMBERS else float(value)
        for name, value in {**recommended, **info.sampling}.items()
        if name in SAMPLING_NAMES
    }
