"""POST /tokenize and /detokenize, as llama-server has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgeinfer.server.schemas.base import RequestModel


class TokenizeRequest(RequestModel):
    content: str
    model: str | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeRequest(RequestModel):
    tokens: list[Annotated[int, Field(ge=0)]]
    model: str | None = None
