"""The sampling fields that chat and text completions share, and the way from them to `SamplingParams`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import BeforeValidator, Field, WithJsonSchema

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.http.request_model import Harmless, RequestModel, Strict

MAX_STOPS = 16
MAX_STOP_LENGTH = 1024
MAX_BIASES = 300
RANDOM_SEED = -1
"""llama-server's way to say "any seed", and many clients' default."""

LLAMA_SERVER: Mapping[str, Harmless] = {
    "cache_prompt": (True,),
    "dry_multiplier": (0, 0.0),
    "dynatemp_range": (0, 0.0),
    "id_slot": (-1,),
    "mirostat": (0,),
    "n_keep": (0,),
    "n_predict": (),
    "n_probs": (0,),
    "samplers": (),
    "timings_per_token": (False,),
    "top_n_sigma": (-1, -1.0),
    "xtc_probability": (0, 0.0),
}
"""Fields of llama-server's own that are not supported yet."""


def _as_stops(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _checked_max_tokens(value: object) -> object:
    if value == 0 and value is not False:
        raise ValueError("Input should be at least 1, or -1 for no limit")
    return value


Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_LENGTH)]
_STOP = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_LENGTH}
Stops = Annotated[
    list[Stop],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_as_stops),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}]}),
]
MaxTokens = Annotated[int, Field(ge=-1, le=2**31 - 1), BeforeValidator(_checked_max_tokens)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenKey = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SamplingFields(RequestModel):
    """An absent field takes the model file's recommendation, else SamplingParams' default."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1, le=128)
    max_tokens: MaxTokens | None = None
    temperature: float | None = Field(None, ge=0, le=100)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1)
    typical_p: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    repeat_penalty: float | None = Field(None, gt=0, le=100)
    repeat_last_n: int | None = Field(None, ge=-1, le=2**31 - 1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[TokenKey, Bias] | None = Field(None, max_length=MAX_BIASES)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Stops | None = None
    ignore_eos: bool = False

    accepted: ClassVar[frozenset[str]] = frozenset(
        {"user", "metadata", "safety_identifier", "prompt_cache_key"}
    )
    unsupported: ClassVar[Mapping[str, Harmless]] = LLAMA_SERVER
    synonyms: ClassVar[Mapping[str, str]] = {"repetition_penalty": "repeat_penalty"}

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def check_stream(self) -> None:
        """Raises InvalidRequest where stream_options ask for what the stream, or its absence, cannot give."""
        if self.stream_options and not self.stream:
            raise InvalidRequest("stream_options need stream to be true", param="stream_options")
        if self.stream_options and self.stream_options.include_obfuscation:
            param = "stream_options.include_obfuscation"
            raise UnsupportedParameter("streams are not obfuscated here", param=param)

    def params(self, info: ModelInfo, logprobs: int | None, max_tokens: int | None) -> SamplingParams:
        """Everything the sampler needs, with every default filled in.

        Raises:
            InvalidRequest: logit_bias names a token that the model does not have.
        """
        values: dict[str, Any] = {**_recommended(info), **self._given()}
        values["logit_bias"] = self._biases(info)
        values["logprobs"] = logprobs
        values["max_tokens"] = None if max_tokens == -1 else max_tokens
        values["stop"] = tuple(self.stop or ())
        return SamplingParams(**values)

    def _given(self) -> dict[str, Any]:
        given = {key: getattr(self, key) for key in SAMPLING_NAMES if getattr(self, key, None) is not None}
        if given.get("top_k", 0) < 0:
            given["top_k"] = 0
        if given.get("seed") == RANDOM_SEED:
            del given["seed"]
        return given

    def _biases(self, info: ModelInfo) -> dict[int, float]:
        biases = {int(key): bias for key, bias in (self.logit_bias or {}).items()}
        for token in biases:
            if token >= info.vocab_size:
                message = f"token {token} is outside the vocabulary of {info.vocab_size}"
                raise InvalidRequest(message, param=f"logit_bias.{token}")
        return biases


SAMPLING_NAMES = frozenset(field.name for field in msgspec.structs.fields(SamplingParams))


def _recommended(info: ModelInfo) -> dict[str, Any]:
    """The model file's own values, in the types the sampler wants; GGUF may write a top_k of 40.0."""
    whole = {"top_k", "repeat_last_n"}
    found = {key: value for key, value in info.sampling.items() if key in SAMPLING_NAMES}
    return {key: int(value) if key in whole else float(value) for key, value in found.items()}
