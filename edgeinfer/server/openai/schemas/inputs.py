"""What completions and embeddings take: one text, several, one list of tokens, or several."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from edgeinfer.chat.prompt import MAX_TOKEN_CHARS
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest
from edgeinfer.inference.types import ModelInfo

Input = str | list[int]

_STRING = {"type": "string"}
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_SCHEMA = {
    "anyOf": [
        _STRING,
        {"type": "array", "items": _STRING, "minItems": 1},
        _TOKENS,
        {"type": "array", "items": _TOKENS, "minItems": 1},
    ]
}


def _as_list(value: object) -> list[Any]:
    if isinstance(value, str) or _is_tokens(value):
        return [value]
    if (
        isinstance(value, list)
        and value
        and (all(isinstance(v, str) for v in value) or all(map(_is_tokens, value)))
    ):
        return value
    raise ValueError(
        "Input should be a string, a list of strings, a list of tokens or a list of lists of tokens"
    )


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(v) is int and v >= 0 for v in value)


Inputs = Annotated[list[Input], BeforeValidator(_as_list), WithJsonSchema(_SCHEMA)]


def check_inputs(inputs: list[Input], info: ModelInfo, param: str) -> None:
    """Raises InvalidRequest for a token that the model does not have, and for a text that surely is too long."""
    for found in inputs:
        if isinstance(found, str):
            check_length(found, info, param)
        elif max(found) >= info.vocab_size:
            message = f"token {max(found)} is outside the vocabulary of {info.vocab_size}"
            raise InvalidRequest(message, param=param)


def check_length(text: str, info: ModelInfo, param: str) -> None:
    """Raises ContextLengthExceeded where the worker need not count tokens to know."""
    if len(text) > info.ctx * MAX_TOKEN_CHARS:
        message = f"a text of {len(text)} characters is more than a context of {info.ctx} tokens can hold"
        raise ContextLengthExceeded(message, param=param)
