"""Writes sampling parameters as vLLM's /v1/completions takes them."""

from __future__ import annotations

import math
from typing import Any

from edgeinfer.backends.vllm.command import MAX_LOGPROBS
from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.inference.sampling import SamplingParams

MAX_SEED = (1 << 63) - 1

MAX_BIAS = 100.0
"""vLLM's limit, for both signs."""

DEFAULT = SamplingParams()


def check_sampling(params: SamplingParams) -> None:
    """Check that vLLM can do what is asked.

    Raises:
        UnsupportedParameter, InvalidRequest: it cannot; `param` names the field.
    """
    if params.typical_p != 1:
        raise _unsupported("typical_p")
    if params.repeat_penalty != 1 and params.repeat_last_n not in (-1, 0, DEFAULT.repeat_last_n):
        raise UnsupportedParameter(
            "vLLM's repeat_penalty looks at the whole conversation",
            param="repeat_last_n",
            hint="leave repeat_last_n out, or set it to -1",
        )
    if params.logprobs is not None and params.logprobs > MAX_LOGPROBS:
        raise InvalidRequest(
            f"at most the {MAX_LOGPROBS} most likely tokens can be listed, not {params.logprobs}",
            param="top_logprobs",
        )


def sampling_fields(params: SamplingParams, seed: int) -> dict[str, Any]:
    """The fields of a request that `check_sampling` has let pass; stop texts are found by the caller."""
    fields: dict[str, Any] = {
        "temperature": params.temperature,
        "top_k": params.top_k,
        "top_p": params.top_p,
        "min_p": params.min_p,
        "repetition_penalty": params.repeat_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "seed": seed & MAX_SEED,
        "ignore_eos": params.ignore_eos,
    }
    if params.repeat_penalty != 1 and params.repeat_last_n == 0:
        fields["repetition_penalty"] = 1.0
    if params.logit_bias:
        fields["logit_bias"] = {str(token): _bias(value) for token, value in params.logit_bias.items()}
    if params.logprobs is not None:
        fields |= {"logprobs": params.logprobs, "return_tokens_as_token_ids": True}
    return fields


def _bias(value: float) -> float:
    return 0.0 if math.isnan(value) else max(-MAX_BIAS, min(MAX_BIAS, value))


def _unsupported(field: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"{field} is not available for models that vLLM serves", param=field, hint=f"leave {field} out"
    )
