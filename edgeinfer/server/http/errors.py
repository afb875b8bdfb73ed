"""Turns errors into responses, in the shape of the family that owns the path."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from edgeinfer.errors import EdgeinferError, InvalidRequest, MethodNotAllowed, NotFound, Unauthorized
from edgeinfer.server.http.family import family_of
from edgeinfer.server.http.quoting import shortened
from edgeinfer.server.http.route_hints import method_hint, route_hint
from edgeinfer.server.http.route_pattern import route_of

RETRY_AFTER = {429: 1, 503: 2}
"""Default seconds of Retry-After, for errors that do not have their own."""

logger = logging.getLogger(__name__)


def error_response(scope: Scope, error: EdgeinferError, headers: Mapping[str, str] | None = None) -> Response:
    """The response to a request that failed."""
    fields = dict(headers or {})
    wait = error.retry_after or RETRY_AFTER.get(error.status)
    if wait is not None:
        fields["retry-after"] = str(wait)
    if isinstance(error, Unauthorized):
        fields["www-authenticate"] = "Bearer"
    error.request_id = scope.get("edgeinfer.id")
    body = family_of(scope).render_error(error)
    return Response(body, error.status, fields, media_type="application/json")


def public_error(error: BaseException) -> EdgeinferError:
    """The error that a client may see. A bug becomes "internal error"; the log has its details."""
    if isinstance(error, EdgeinferError):
        return error
    if isinstance(error, RecursionError):
        return InvalidRequest("the request is nested too deeply")
    logger.error("unexpected error", exc_info=error)
    return EdgeinferError("internal error", hint="the daemon's log has the details: edgeinfer logs")


async def on_error(request: Request, error: Exception) -> Response:
    """Handler for `EdgeinferError` and for `RecursionError`."""
    return error_response(request.scope, public_error(error))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handler for exceptions of Starlette itself: no such route, or not with this method."""
    assert isinstance(error, HTTPException)
    if error.status_code != http.HTTPStatus.METHOD_NOT_ALLOWED:
        return error_response(request.scope, _translated(request, error), error.headers)
    allow = {"allow": ", ".join([*_methods(request), "OPTIONS"])}
    if request.method == "OPTIONS":
        return Response(status_code=http.HTTPStatus.NO_CONTENT, headers=allow)
    return error_response(request.scope, _translated(request, error), allow)


def _methods(request: Request) -> list[str]:
    """The methods that the path of a request has."""
    path = route_of(request.scope)
    routes = [route for family in request.app.families.all for route in family.routes if route.path == path]
    methods = {method for route in routes for method in route.methods} or {"GET"}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _paths(request: Request) -> list[str]:
    """The paths of all routes."""
    return [route.path for family in request.app.families.all for route in family.routes]


def _translated(request: Request, error: HTTPException) -> EdgeinferError:
    where = f"{request.method} {request.url.path}"
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        return NotFound(
            f"no such route: {shortened(where)}", hint=route_hint(request.url.path, _paths(request))
        )
    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(
            f"method not allowed: {shortened(where)}", hint=method_hint(_methods(request))
        )
    if error.status_code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidRequest(str(error.detail))
    return EdgeinferError(str(error.detail))
