"""llama-server's responses as structs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct


class TokenPiece(Struct):
    """A token and its text, or its bytes if they are not whole characters."""

    id: int
    piece: str | list[int]


class TokenizeResponse(Struct):
    tokens: Sequence[int | TokenPiece]


class DetokenizeResponse(Struct):
    content: str


class ChatInputTokens(Struct):
    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


class ApplyTemplateResponse(Struct):
    prompt: str
