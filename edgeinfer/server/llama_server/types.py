"""llama-server's responses as structs."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class TokenPiece(Struct):
    """A token and its text, or its bytes if they are not whole characters."""

    id: int
    piece: str | list[int]


class TokenizeResponse(Struct):
    tokens: Sequence[int | TokenPiece]


class DetokenizeResponse(Struct):
    content: str


class ApplyTemplateResponse(Struct):
    prompt: str
