"""Errors in Ollama's form: `{"error": "text"}`."""

from __future__ import annotations

import msgspec

from edgeinfer.errors import EdgeinferError


class OllamaError(msgspec.Struct):
    error: str


def render_error(error: EdgeinferError) -> bytes:
    """The error as JSON. The text ends with the hint, if there is one."""
    return msgspec.json.encode(OllamaError(error.public().message))


def stream_error(error: EdgeinferError) -> bytes:
    """The error as the last line of a stream."""
    return render_error(error) + b"\n"
