"""The bodies of POST /tokenize and /detokenize."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgeinfer.server.http.request_model import Items, RequestModel

MAX_LENGTH = 2**18
"""Maximum characters or tokens: the worker does nothing else meanwhile. Longer texts can be sent in parts."""


class TokenizeRequest(RequestModel):
    content: str = Field(max_length=MAX_LENGTH)
    model: str | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeRequest(RequestModel):
    tokens: Items[Annotated[int, Field(ge=0)]] = Field(max_length=MAX_LENGTH)
    model: str | None = None
