"""The body of POST /completion, as in llama-server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.http.request_model import Harmless, Items
from edgeinfer.server.openai.schemas.formats import FormatFields
from edgeinfer.serving.inputs import Input

MAX_PROMPTS = 128

MAX_TEXTS = 256
"""Texts among the tokens of all prompts: to return the prompts, the tokens between them are read one run at a time."""

NEVER = -100.0
"""The bias of a token that must not occur, which llama-server writes as false."""

_PART = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}
_ONE = {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART, "minItems": 1}]}
_SCHEMA = {"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1, "maxItems": MAX_PROMPTS}]}


def _as_prompts(value: object) -> list[Input]:
    """One prompt is a text, or a list of tokens, among which there may be texts; a list of texts alone is several."""
    several = isinstance(value, list) and value and not _is_mixed(value)
    prompts = [_as_prompt(item) for item in value] if several else [_as_prompt(value)]  # type: ignore[attr-defined]
    if (
        sum(isinstance(part, str) for prompt in prompts if isinstance(prompt, list) for part in prompt)
        > MAX_TEXTS
    ):
        raise ValueError(f"may have at most {MAX_TEXTS} texts among tokens")
    return prompts


def _as_prompt(value: object) -> Input:
    if isinstance(value, dict) and isinstance(text := value.get("prompt_string"), str):
        if value.get("multimodal_data"):
            raise ValueError("must not have multimodal_data: this model takes only text")
        return text
    if isinstance(value, str) or (isinstance(value, list) and _is_parts(value)):
        return value
    raise ValueError("must be a text, a list of tokens and texts, or a list of such prompts")


def _is_mixed(values: list[object]) -> bool:
    """Whether a list is one prompt: it has tokens."""
    return any(type(value) is int for value in values)


def _is_parts(values: list[object]) -> bool:
    kinds = set(map(type, values))
    return bool(values) and kinds <= {int, str} and all(type(v) is str or v >= 0 for v in values)  # type: ignore[operator]


class LlamaCompletionRequest(FormatFields):
    prompt: Annotated[
        list[Input], PlainValidator(_as_prompts), WithJsonSchema(_SCHEMA), Field(max_length=MAX_PROMPTS)
    ]
    max_tokens: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    n_probs: int = Field(0, ge=0, le=20)
    n_indent: int = Field(0, ge=0, le=1024)
    t_max_predict_ms: int = Field(0, ge=-1, le=2**31 - 1)
    return_tokens: bool = False
    timings_per_token: bool = False
    response_fields: Items[str] = Field([], max_length=128)

    # Neither a slot nor the cache changes an answer.
    accepted: ClassVar[frozenset[str]] = FormatFields.accepted | {
        "cache_prompt",
        "n_cache_reuse",
        "n_discard",
        "sse_ping_interval",
        "t_max_prompt_ms",
    }
    unsupported: ClassVar[Mapping[str, Harmless]] = {
        name: harmless
        for name, harmless in FormatFields.unsupported.items()
        if name not in ("cache_prompt", "n_probs", "return_tokens")
    }
    synonyms: ClassVar[Mapping[str, str]] = {
        **FormatFields.synonyms,
        "max_completion_tokens": "max_tokens",
        "n_cmpl": "n",
        "logprobs": "n_probs",
    }

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        super().adapt(values)
        if isinstance(biases := values.get("logit_bias"), list):
            values["logit_bias"] = dict(map(_bias, biases))
        if isinstance(stop := values.get("stop"), list):
            values["stop"] = [text for text in stop if text != ""]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be generated: the prompt is only computed, for the cache."""
        return self.max_tokens == 0

    def token_limit(self) -> int | None:
        """The maximum length of an answer. Where it is 0, one token is generated, but not returned."""
        return 1 if self.is_empty else self.max_tokens

    def wants(self, field: str) -> bool:
        """Whether a field of the response is returned."""
        return not self.response_fields or field in self.response_fields


def _bias(entry: object) -> tuple[str, Any]:
    """A pair of llama-server's, as OpenAI has it."""
    match entry:
        case [int() as token, bool(bias)] if not bias and type(token) is int:
            return str(token), NEVER
        case [int() as token, int() | float() as bias] if type(token) is int:
            return str(token), bias
        case [str(), _]:
            raise UnsupportedParameter(
                "logit_bias takes tokens, not texts", param="logit_bias", hint="POST /tokenize has the tokens"
            )
    raise InvalidRequest("logit_bias must have pairs of a token and a bias", param="logit_bias")
