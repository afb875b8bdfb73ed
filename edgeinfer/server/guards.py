"""Who may speak, and how much: the Host check, the API key and the size of a body, as pure ASGI."""

from __future__ import annotations

import asyncio
import ipaddress
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.errors import EdgeinferError, Forbidden, InvalidRequest, PayloadTooLarge, Unauthorized
from edgeinfer.server import envelope
from edgeinfer.server.keys import Keys

OPEN = frozenset({"/health", "/ready"})
"""Paths that need no key: whoever watches the daemon has none."""

BODY_IDLE = 30.0
"""Seconds between two pieces of a body, after which its sender is taken for a slowloris."""

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")


class HostGuard:
    """On a loopback address, answers only to loopback's own names.

    A web page whose name was made to resolve to 127.0.0.1 (DNS rebinding) still sends its own name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (error := _host_error(_values(scope, b"host"))):
            await envelope.response(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class KeyGuard:
    """Wants a known key in `Authorization: Bearer` or `x-api-key`, and no unknown one beside it."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN and (error := self._error(scope)):
            await envelope.response(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _error(self, scope: Scope) -> EdgeinferError | None:
        presented = [value.strip() for value in _values(scope, b"x-api-key")]
        for value in _values(scope, b"authorization"):
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                presented.append(key.strip())
        if not presented:
            return Unauthorized("no API key given", hint="send it as Authorization: Bearer KEY")
        unknown = [key for key in presented if not self.keys.accept(key)]
        return Unauthorized("unknown API key") if unknown else None


class BodyLimit:
    """No body is larger than `limit` bytes, announced or in chunks, and none trickles in for ever."""

    def __init__(self, app: ASGIApp, limit: int, idle: float = BODY_IDLE) -> None:
        self.app = app
        self.limit = limit
        self.idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._announced(scope) > self.limit:
            await envelope.response(self._too_large())(scope, receive, send)
            return
        counter = _CountedBody(receive, self)
        await self.app(scope, counter.receive, send)

    def _announced(self, scope: Scope) -> int:
        # h11 and httptools have refused lengths that are no numbers, and two that differ.
        return max((int(v) for v in _values(scope, b"content-length") if v.isdigit()), default=0)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the request body is larger than {self.limit} bytes")


class _CountedBody:
    def __init__(self, receive: Receive, limit: BodyLimit) -> None:
        self._receive = receive
        self._limit = limit
        self._left = limit.limit
        self._more = True

    async def receive(self) -> Message:
        """The next piece. Raises PayloadTooLarge; InvalidRequest where the sender fell silent."""
        if not self._more:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._limit.idle)
        except asyncio.TimeoutError:
            raise InvalidRequest(f"nothing of the body came for {self._limit.idle:g} s") from None
        self._more = bool(message.get("more_body", False))
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._limit._too_large()
        return message


def _host_error(hosts: list[bytes]) -> EdgeinferError | None:
    if len(hosts) == 1 and is_loopback_name(hosts[0].decode("latin-1")):
        return None
    return Forbidden(
        "this daemon listens on loopback and answers only to localhost, 127.0.0.1 and [::1]",
        param="Host",
        hint="to serve other machines set host and api_key_file",
    )


def is_loopback_name(host: str) -> bool:
    """Whether a Host header names this machine: localhost, 127.0.0.0/8 or [::1]; any port, a dot at the end."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].lower()
    if name.removesuffix(".") == "localhost":
        return True
    try:
        if name.startswith("["):
            return ipaddress.IPv6Address(name[1:-1]) == ipaddress.IPv6Address("::1")
        return ipaddress.IPv4Address(name.removesuffix(".")).is_loopback
    except ValueError:
        return False


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]
