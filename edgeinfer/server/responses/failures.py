"""Errors in a stream that has begun, with the codes that clients know."""

from __future__ import annotations

from edgeinfer.errors import (
    ContextLengthExceeded,
    EdgeinferError,
    InvalidRequest,
    NotReady,
    QueueFull,
    RateLimited,
)
from edgeinfer.server.responses.types import ResponseError

DEFAULT_WAIT = 2
"""Seconds after which to try again, for errors that do not say it."""


def response_error(error: EdgeinferError) -> ResponseError:
    """The error of a failed response. Clients wait as long as a message with this code says."""
    message = error.public().message
    match error:
        case ContextLengthExceeded():
            return ResponseError("context_length_exceeded", message)
        case InvalidRequest():
            return ResponseError("invalid_prompt", message)
        case QueueFull() | RateLimited() | NotReady():
            wait = error.retry_after or DEFAULT_WAIT
            return ResponseError("rate_limit_exceeded", f"{message} Please try again in {wait}s.")
        case _:
            return ResponseError("server_error", message)
