"""Errors as Anthropic's envelope: `{"type": "error", "error": {type, message}, "request_id"}`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from edgeinfer.errors import ContextLengthExceeded, EdgeinferError

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""What clients tell errors by. Those of other statuses below 500 are the request's, the rest the server's."""

TOO_LONG = "prompt is too long"
"""How Anthropic's own error begins: Claude Code then shortens the conversation by itself."""


class ErrorObject(Struct):
    type: str
    message: str


class ErrorResponse(Struct, tag_field="type", tag="error"):
    error: ErrorObject
    request_id: str | None


def render_error(error: EdgeinferError) -> bytes:
    """The envelope as JSON."""
    other = "invalid_request_error" if error.status < 500 else "api_error"
    details = ErrorObject(TYPES.get(error.status, other), _message(error))
    return msgspec.json.encode(ErrorResponse(details, error.request_id))


def stream_error(error: EdgeinferError) -> bytes:
    """The envelope as a server-sent event."""
    return b"event: error\ndata: " + render_error(error) + b"\n\n"


def _message(error: EdgeinferError) -> str:
    """The whole error in words, since there is nothing else that could name the field."""
    data = error.public()
    if isinstance(error, ContextLengthExceeded):
        return f"{TOO_LONG}: {data.message}"
    named = data.param is None or data.param in data.message
    return data.message if named else f"{data.param}: {data.message}"
