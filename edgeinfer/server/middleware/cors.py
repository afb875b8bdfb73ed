"""Admits requests from the daemon's own web pages and from `cors_origins`, and from no others."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.errors import Forbidden, SettingsError
from edgeinfer.server.http.errors import error_response
from edgeinfer.server.http.headers import IGNORED, header_values
from edgeinfer.server.http.quoting import shortened

METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
HEADERS = ("authorization", "content-type", "x-api-key", "x-request-id", "x-session-id")
EXPOSED = f"retry-after, request-id, x-request-id, {IGNORED}"
MAX_AGE = "600"
"""Seconds that a browser may remember a permission."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/,*@]+")
_NAMES = re.compile(r"[A-Za-z0-9-]+( *, *[A-Za-z0-9-]+)*")


class CORSMiddleware:
    """Refuses requests with an `Origin` that is neither the daemon's own nor in `allowed`.

    A browser lets any page send simple requests anywhere (CSRF), and only withholds the response from it. So a foreign
    origin is refused, not just left without permission. Only browsers send an origin.
    """

    def __init__(self, app: ASGIApp, allowed: frozenset[str] = frozenset()) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = header_values(scope, b"origin") if scope["type"] == "http" else []
        if not origins:
            await self.app(scope, receive, send)
            return
        origin = origins[0].decode("latin-1")
        if len(origins) == 1 and origin.lower() in self.allowed:
            await self._permit(origin, scope, receive, send)
        elif len(origins) == 1 and _is_ours(origin, scope):
            await self.app(scope, receive, send)
        else:
            await error_response(scope, _foreign(origin))(scope, receive, send)

    async def _permit(self, origin: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_permission(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-origin"] = origin
                headers["access-control-expose-headers"] = EXPOSED
                headers.add_vary_header("Origin")
            await send(message)

        asks = header_values(scope, b"access-control-request-method")
        app = _preflight(scope) if asks and scope["method"] == "OPTIONS" else self.app
        await app(scope, receive, send_with_permission)


def _is_ours(origin: str, scope: Scope) -> bool:
    """True if the page came from the host and port that it calls; TrustedHostMiddleware has checked the name."""
    scheme, _, where = origin.lower().partition("://")
    host = b"".join(header_values(scope, b"host")).decode("latin-1").lower()
    return scheme in ("http", "https") and where == host != ""


def _foreign(origin: str) -> Forbidden:
    shown = shortened(origin)
    named = f'cors_origins = "{shown}"' if _ORIGIN.fullmatch(shown) else "cors_origins"
    return Forbidden(
        f"web pages from {shown} may not use this daemon",
        param="Origin",
        hint=f"to allow them, add {named} to the configuration file and restart the daemon",
    )


def _preflight(scope: Scope) -> Response:
    """The response to a browser's preflight request, which comes without a key."""
    requested = b",".join(header_values(scope, b"access-control-request-headers")).decode("latin-1")
    more = [name.strip().lower() for name in requested.split(",")] if _NAMES.fullmatch(requested) else []
    headers = {
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": ", ".join(dict.fromkeys([*HEADERS, *more])),
        "access-control-max-age": MAX_AGE,
    }
    if header_values(scope, b"access-control-request-private-network"):
        headers["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=headers)


def parse_origins(text: str) -> frozenset[str]:
    """Parse the setting `cors_origins`. Raises SettingsError."""
    origins = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    for part in sorted(origins):
        if not _ORIGIN.fullmatch(part):
            raise SettingsError(
                f"cors_origins: {part!r} is not an origin",
                param="cors_origins",
                hint="write each with its scheme and without a path: https://app.example",
            )
    return origins
