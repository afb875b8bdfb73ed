"""Errors as OpenAI's envelope: `{"error": {message, type, code, param, hint?}}`."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgeinfer.errors import EdgeinferError


class ErrorDetails(Struct):
    message: str
    type: str
    code: str
    param: str | None
    hint: str | UnsetType = UNSET


class ErrorEnvelope(Struct):
    error: ErrorDetails


def render_error(error: EdgeinferError) -> bytes:
    """The envelope as JSON."""
    data = error.public()
    details = ErrorDetails(data.message, error.type, data.code, data.param, data.hint or UNSET)
    return msgspec.json.encode(ErrorEnvelope(details))


def stream_error(error: EdgeinferError) -> bytes:
    """The envelope as a server-sent event."""
    return b"data: " + render_error(error) + b"\n\n"
