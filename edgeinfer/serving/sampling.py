"""The sampling parameters of a request: its own values, then the model's, then the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo

SAMPLING_NAMES = frozenset(field.name for field in msgspec.structs.fields(SamplingParams))

WHOLE_NUMBERS = frozenset({"top_k", "repeat_last_n"})


def resolve_sampling(values: Mapping[str, Any], info: ModelInfo) -> SamplingParams:
    """Complete parameters. `values` are those that the request has, by the names of SamplingParams.

    Raises:
        InvalidRequest: logit_bias names a token that the model does not have.
    """
    for token in values.get("logit_bias", ()):
        if token >= info.vocab_size:
            raise InvalidRequest(
                f"token {token} is outside the vocabulary of {info.vocab_size}", param=f"logit_bias.{token}"
            )
    return SamplingParams(**{**_recommended(info), **values})


def _recommended(info: ModelInfo) -> dict[str, Any]:
    """The model file's own values, in the types of SamplingParams; GGUF may write a top_k of 40.0."""
    return {
        name: int(value) if name in WHOLE_NUMBERS else float(value)
        for name, value in info.sampling.items()
        if name in SAMPLING_NAMES
    }
