"""The inputs of completions and embeddings: one text, several, one list of tokens, or several."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

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
    raise ValueError("must be a string, a list of strings, a list of tokens or a list of lists of tokens")


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and set(map(type, value)) == {int} and min(value) >= 0


Inputs = Annotated[list[str | list[int]], PlainValidator(_as_list), WithJsonSchema(_SCHEMA)]
