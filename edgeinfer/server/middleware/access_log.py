"""Gives each request an id, a log line and metrics, and turns unexpected errors into responses."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer import log, request_figures
from edgeinfer.metrics import Metrics
from edgeinfer.request_figures import RequestFigures
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.disconnect import ClientDisconnected
from edgeinfer.server.http.errors import error_response, public_error
from edgeinfer.server.http.family import family_of
from edgeinfer.server.http.headers import IGNORED
from edgeinfer.server.http.route_pattern import route_of

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected before the response; it is only in logs and metrics."""

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

logger = logging.getLogger("edgeinfer.access")


class AccessLogMiddleware:
    """Logs and counts every request, without its body, query string and headers: these may hold prompts and keys.

    Instead of a key the log has its name and the client's address.

    JSON lines have each value by its name besides, and `trace`, if there is one, gets a span.

    A path may hold control characters; `log.LineFormatter` escapes them.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        quiet_paths: Collection[str] = (),
        trace: Callable[[Scope, int, float, str, RequestFigures], None] | None = None,
    ) -> None:
        """`trace` is told of each request that has ended: status, begin (time.perf_counter()), id, figures."""
        self.app = app
        self.trace = trace
        self.quiet_paths = quiet_paths
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange, figures = _Exchange(scope, send), RequestFigures()
        token = request_figures.current.set(figures)
        try:
            await self._answer(scope, receive, exchange)
        finally:
            request_figures.current.reset(token)
            seconds = exchange.seconds()
            if self.trace and scope["path"] not in self.quiet_paths:
                self.trace(scope, exchange.status, exchange.began, exchange.id, figures)
            self.metrics.request(route_of(scope), exchange.status, seconds)
            logger.log(
                logging.DEBUG if scope["path"] in self.quiet_paths else logging.INFO,
                "%s %s %d %.1f ms %s %s",
                scope["method"],
                scope["path"][:200],
                exchange.status,
                seconds * 1000,
                exchange.id,
                _sender(scope),
                extra={log.FIELDS: _fields(scope, exchange, seconds, figures)},
            )

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        try:
            await self.app(scope, receive, exchange.send)
        except (ClientDisconnected, ClientDisconnect):
            exchange.status = CLIENT_CLOSED_REQUEST
        except Exception as e:
            error = public_error(e)
            if exchange.started:
                raise  # uvicorn cuts the connection: the response cannot be completed
            await error_response(scope, error)(scope, receive, exchange.send)


def _fields(scope: Scope, exchange: _Exchange, seconds: float, figures: RequestFigures) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": exchange.status,
        "seconds": round(seconds, 4),
        "request_id": exchange.id,
        "sender": principal_of(scope).label,
    }
    if figures.model is not None:
        first = figures.first_token
        fields |= {
            "model": figures.model,
            "prompt_tokens": figures.prompt_tokens,
            "cached_tokens": figures.cached_tokens,
            "completion_tokens": figures.completion_tokens,
            "queue_seconds": round(figures.queued, 4),
            "first_token_seconds": None if first is None else round(first - exchange.began, 4),
        }
    return fields


def _sender(scope: Scope) -> str:
    """Who sent a request, and the hash of its session, if it names one."""
    principal = principal_of(scope)
    return f"{principal.label} session {principal.session[:12]}" if principal.session else principal.label


class _Exchange:
    """The id of one request, and the status of its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = scope["edgeinfer.id"] = _request_id(scope)
        self.scope = scope
        self.status = 500  # the client sees this if the application fails before it responds
        self.started = False
        self._send = send
        self._family = family_of(scope)
        self.began = time.perf_counter()

    def seconds(self) -> float:
        """The time since the request came."""
        return time.perf_counter() - self.began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            if id_header := self._family.request_id_header:
                headers[id_header] = self.id
            if time_header := self._family.time_header:
                headers[time_header] = f"{self.seconds() * 1000:.0f}"
            headers["x-content-type-options"] = "nosniff"
            headers["cross-origin-resource-policy"] = "same-origin"
            if ignored := self.scope.get(IGNORED):
                headers[IGNORED] = ignored
        await self._send(message)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(id := value.decode("latin-1")):
            return str(id)
    return uuid.uuid4().hex
