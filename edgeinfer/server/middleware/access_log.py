"""The outermost middleware: request id, one log line a request, metrics, and the net under every bug."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.metrics import Metrics
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.disconnect import ClientGone
from edgeinfer.server.http.errors import error_response, presentable

CLIENT_GONE = 499
"""nginx's status for "the client left before the answer"; seen in logs and metrics alone."""

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

logger = logging.getLogger("edgeinfer.access")


class AccessLogMiddleware:
    """Neither bodies, nor query strings, nor headers are logged: prompts and keys stay out of the log. (A
    key's name is in it, and the address.)

    A path may hold control characters; `log.LineFormatter` escapes them.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, quiet_paths: Collection[str] = ()) -> None:
        self.app = app
        self.quiet_paths = quiet_paths
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        started = time.perf_counter()
        try:
            await self._answer(scope, receive, exchange)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.request(_route(scope), exchange.status, seconds)
            logger.log(
                logging.DEBUG if scope["path"] in self.quiet_paths else logging.INFO,
                "%s %s %d %.1f ms %s %s",
                scope["method"],
                scope["path"][:200],
                exchange.status,
                seconds * 1000,
                exchange.id,
                principal_of(scope).label,
            )

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        try:
            await self.app(scope, receive, exchange.send)
        except (ClientGone, ClientDisconnect):
            exchange.status = CLIENT_GONE
        except Exception as e:
            error = presentable(e)
            if exchange.started:
                raise  # uvicorn cuts the connection: the only honest end that is left
            await error_response(scope, error)(scope, receive, exchange.send)


class _Exchange:
    """One request's id, and the status it is answered with."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = scope["edgeinfer.id"] = _request_id(scope)
        self.status = 500  # what the client sees if the application dies without a word
        self.started = False
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            headers["x-content-type-options"] = "nosniff"
            headers["cross-origin-resource-policy"] = "same-origin"
        await self._send(message)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(id := value.decode("latin-1")):
            return str(id)
    return uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The route's pattern. Never the path: a metric's labels must stay few."""
    return getattr(scope.get("route"), "path", "none")
