"""The settings of a generation under llama-server's names, in /props and in answers."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from edgeinfer.inference.sampling import SamplingParams

SAMPLERS = ("penalties", "top_k", "typ_p", "top_p", "min_p", "temperature")
"""The sampling steps that there are here."""

RANDOM_SEED = 2**32 - 1
"""llama-server's way to write that each answer has another seed."""


class LogitBias(Struct):
    bias: float
    token: int


class GenerationSettings(Struct, rename={"speculative_types": "speculative.types"}):
    """What llama-server says of a generation. Fields with a default name what is always off here."""

    seed: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repeat_last_n: int
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    stop: list[str]
    max_tokens: int
    n_predict: int
    ignore_eos: bool
    stream: bool
    logit_bias: list[LogitBias]
    n_probs: int
    timings_per_token: bool = False
    grammar: str = ""
    samplers: list[str] = field(default_factory=lambda: list(SAMPLERS))
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    n_keep: int = 0
    n_discard: int = 0
    min_keep: int = 0
    speculative_types: str = "none"
    post_sampling_probs: bool = False
    lora: list[Any] = field(default_factory=list)


def generation_settings(params: SamplingParams, *, stream: bool = True) -> GenerationSettings:
    """The settings of an answer that is generated with `params`."""
    limit = -1 if params.max_tokens is None else params.max_tokens
    return GenerationSettings(
        seed=RANDOM_SEED if params.seed is None else params.seed,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        typical_p=params.typical_p,
        repeat_last_n=params.repeat_last_n,
        repeat_penalty=params.repeat_penalty,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        stop=list(params.stop),
        max_tokens=limit,
        n_predict=limit,
        ignore_eos=params.ignore_eos,
        stream=stream,
        logit_bias=[LogitBias(bias, token) for token, bias in params.logit_bias.items()],
        n_probs=params.logprobs or 0,
    )
