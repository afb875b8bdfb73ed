"""The sampling fields that chat and text completions share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.http.request_model import Harmless, Items, RequestModel, Strict
from edgeinfer.server.openai.schemas import foreign_fields
from edgeinfer.server.openai.schemas.adapt import adapt_options
from edgeinfer.serving.sampling import SAMPLING_NAMES

MAX_STOPS = 16
MAX_STOP_LENGTH = 1024
MAX_BIASES = 300
MAX_SALT_LENGTH = 1024
MAX_PREDICTED_PARTS = 1024

TOKEN = "[0-9]{1,9}"
RANDOM_SEED = -1
"""llama-server's value for "any seed", which many clients send by default."""

SamplingStep = Literal[
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature", "infill"
]
"""llama-server's sampling steps. Those that we lack also have request fields, which accept only "off"."""

MAX_STEPS = 64
"""Entries of `samplers`, which may repeat themselves."""

OFF: Mapping[SamplingStep, Mapping[str, float]] = {
    "penalties": {"repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "top_k": {"top_k": 0},
    "typ_p": {"typical_p": 1.0},
    "top_p": {"top_p": 1.0},
    "min_p": {"min_p": 0.0},
    "temperature": {"temperature": 1.0},
}
"""The values that switch off a step."""


def _as_stops(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _checked_max_tokens(value: object) -> object:
    if value == 0 and value is not False:
        raise ValueError("must be at least 1, or -1 for no limit")
    return value


def _checked_biases(value: object) -> object:
    if (
        isinstance(value, dict) and len(value) > MAX_BIASES
    ):  # pydantic would look at each before it counts them
        raise ValueError(f"may have at most {MAX_BIASES} entries")
    return value


def _checked_token(key: object) -> object:
    if not re.fullmatch(TOKEN, str(key)):
        raise ValueError('must be the number of a token, as in {"1234": -100}; POST /tokenize tells it')
    return key


Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_LENGTH)]
_STOP = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_LENGTH}
Stops = Annotated[
    Items[Stop],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_as_stops),
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}]}),
]
MaxTokens = Annotated[int, Field(ge=-1, le=2**31 - 1), BeforeValidator(_checked_max_tokens)]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenKey = Annotated[str, BeforeValidator(_checked_token), Field(pattern=f"^{TOKEN}$")]
Biases = Annotated[
    dict[TokenKey, Bias],
    BeforeValidator(_checked_biases),
    Field(json_schema_extra={"maxProperties": MAX_BIASES}),
]


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class PredictedText(Strict):
    type: Literal["text"]
    text: str


class Prediction(Strict):
    """What the answer will repeat in part, such as the file that is edited. It makes the answer faster, not different."""

    type: Literal["content"]
    content: str | Annotated[Items[PredictedText], Field(max_length=MAX_PREDICTED_PARTS)]

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


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
    logit_bias: Biases | None = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Stops | None = None
    ignore_eos: bool = False
    return_progress: bool = False
    cache_salt: str | None = Field(None, min_length=1, max_length=MAX_SALT_LENGTH)
    prompt_cache_key: Any = None
    samplers: Items[SamplingStep] | None = Field(None, max_length=MAX_STEPS)
    num_ctx: int | None = Field(None, ge=0, le=2**31 - 1)
    prediction: Prediction | None = None

    accepted: ClassVar[frozenset[str]] = foreign_fields.ACCEPTED
    unsupported: ClassVar[Mapping[str, Harmless]] = foreign_fields.UNSUPPORTED
    synonyms: ClassVar[Mapping[str, str]] = foreign_fields.SYNONYMS
    hints: ClassVar[Mapping[str, str]] = foreign_fields.HINTS

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        adapt_options(values)

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def check_stream(self) -> None:
        """Raises InvalidRequest for stream_options without a stream, or with a value that is not supported."""
        if self.stream_options and not self.stream:
            raise InvalidRequest("stream_options requires stream to be true", param="stream_options")
        if self.stream_options and self.stream_options.include_obfuscation:
            param = "stream_options.include_obfuscation"
            raise UnsupportedParameter("obfuscation of streams is not supported", param=param)

    def sampling(self, max_tokens: int | None, logprobs: int | None = None) -> dict[str, Any]:
        """The values that the request has, by the names of SamplingParams."""
        values = {name: value for name in SAMPLING_NAMES if (value := getattr(self, name, None)) is not None}
        if values.get("top_k", 0) < 0:
            values["top_k"] = 0
        if values.get("seed") == RANDOM_SEED:
            del values["seed"]
        values["logit_bias"] = {int(token): bias for token, bias in (self.logit_bias or {}).items()}
        values["logprobs"] = logprobs
        values["prompt_progress"] = self.return_progress and self.stream
        values["max_tokens"] = None if max_tokens == -1 else max_tokens
        values["stop"] = tuple(self.stop or ())
        values["prediction"] = self.prediction.text if self.prediction else ""
        return {**values, **self._switched()}

    def _switched(self) -> dict[str, float]:
        """The values that follow from `samplers`. `infill` picks the most likely token."""
        if self.samplers is None:
            return {}
        off = (values for step, values in OFF.items() if step not in self.samplers)
        switched = {name: value for values in off for name, value in values.items()}
        return {**switched, "temperature": 0.0} if "infill" in self.samplers else switched
