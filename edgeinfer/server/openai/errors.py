"""Errors as OpenAI's envelope: `{"error": {message, type, code, param, hint?}}` and the right status."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import (
    EdgeinferError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
)

RETRY_AFTER = {429: 1, 503: 2}
"""Seconds a client is told to wait where the error itself does not know."""

logger = logging.getLogger(__name__)


class Error(Struct):
    message: str
    type: str
    code: str
    param: str | None
    hint: str | UnsetType = UNSET


class Envelope(Struct):
    error: Error


def payload(error: EdgeinferError) -> bytes:
    """The envelope as JSON."""
    found = Error(error.message, error.type, error.code, error.param, error.hint or UNSET)
    return msgspec.json.encode(Envelope(found))


def response(error: EdgeinferError, headers: Mapping[str, str] | None = None) -> Response:
    found = dict(headers or {})
    wait = error.retry_after or RETRY_AFTER.get(error.status)
    if wait is not None:
        found["retry-after"] = str(wait)
    if isinstance(error, Unauthorized):
        found["www-authenticate"] = "Bearer"
    return Response(payload(error), error.status, found, media_type="application/json")


def internal(error: BaseException) -> EdgeinferError:
    """What a client may know of a bug: nothing but that it is one. The log has the rest."""
    if isinstance(error, EdgeinferError):
        return error
    if isinstance(error, RecursionError):
        return InvalidRequest("the request is nested too deeply")
    logger.error("unexpected error", exc_info=error)
    return EdgeinferError("internal error", hint="the daemon's log has the details: edgeinfer logs")


async def on_error(_request: Request, error: Exception) -> Response:
    """Handler for `EdgeinferError` and for `RecursionError`."""
    return response(internal(error))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handler for what Starlette itself raises: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    return response(_translated(request, error), error.headers)


def _translated(request: Request, error: HTTPException) -> EdgeinferError:
    where = f"{request.method} {request.url.path}"
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        return NotFound(f"no such route: {where}", hint="/openapi.json lists the routes")
    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(f"method not allowed: {where}")
    if error.status_code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidRequest(str(error.detail))
    return EdgeinferError(str(error.detail))
