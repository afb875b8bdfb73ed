"""Errors as llama-server has them: `{"error": {code, message, type}}`, where the code is the HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgeinfer.errors import ContextLengthExceeded, EdgeinferError, NotReady
from edgeinfer.serving.model import ServedModel

TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}
"""llama-server's types by status; others are called as in OpenAI's API."""

LOADING = "Loading model"
"""The text that llama-server's clients wait on."""


class LlamaErrorDetails(Struct):
    """`reason` is our own code for the error, by which programs can tell errors with one status apart."""

    code: int
    message: str
    type: str
    reason: str
    param: str | UnsetType = UNSET
    hint: str | UnsetType = UNSET


class LlamaErrorEnvelope(Struct):
    error: LlamaErrorDetails


def render_error(error: EdgeinferError) -> bytes:
    """The envelope as JSON."""
    data = error.public()
    details = LlamaErrorDetails(error.status, data.message, _type(error), data.code)
    details.param, details.hint = data.param or UNSET, data.hint or UNSET
    return msgspec.json.encode(LlamaErrorEnvelope(details))


def stream_error(error: EdgeinferError) -> bytes:
    """The envelope as a server-sent event."""
    return b"data: " + render_error(error) + b"\n\n"


def check_not_loading(model: ServedModel) -> None:
    """Raises NotReady, in llama-server's words, while `model` is being loaded."""
    if model.info is None and model.state == "loading":
        raise NotReady(LOADING)


def _type(error: EdgeinferError) -> str:
    if isinstance(error, ContextLengthExceeded):
        return "exceed_context_size_error"
    return TYPES.get(error.status, error.type)
