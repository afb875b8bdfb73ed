"""The middleware that requires an API key."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from edgeinfer.errors import EdgeinferError, Unauthorized
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.server.auth.keys import Key
from edgeinfer.server.auth.principal import name_principal
from edgeinfer.server.http.errors import error_response
from edgeinfer.server.http.headers import header_values


class AuthMiddleware:
    """Requires one known key, in `Authorization: Bearer`, in `x-api-key`, or in both."""

    def __init__(
        self, app: ASGIApp, keys: KeyFile, open_paths: Collection[str], share_prefixes: bool = False
    ) -> None:
        """`share_prefixes`: see `name_principal`."""
        self.app = app
        self.share_prefixes = share_prefixes
        self.open_paths = open_paths
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.open_paths:
            key = self._key(scope)
            if isinstance(key, EdgeinferError):
                await error_response(scope, key)(scope, receive, send)
                return
            name_principal(scope, key, share_prefixes=self.share_prefixes)
        await self.app(scope, receive, send)

    def _key(self, scope: Scope) -> Key | EdgeinferError:
        presented = _presented(scope)
        if not presented:
            return Unauthorized("no API key given", hint="send it as Authorization: Bearer KEY")
        if len(presented) > 2:  # each is compared with all keys
            return Unauthorized("too many API keys given", hint="send one")
        keys = self.keys.keys
        # All are checked: otherwise an invalid key could hide behind a valid one.
        matches = [keys.find(key) for key in presented]
        first = matches[0]
        if first is None or None in matches:
            return Unauthorized("unknown API key")
        if any(key != first for key in matches):
            # Otherwise a caller with two keys could choose whose limits each request counts against.
            return Unauthorized("two different API keys given", hint="send one")
        return first


def _presented(scope: Scope) -> list[bytes]:
    presented = [value.strip() for value in header_values(scope, b"x-api-key")]
    for value in header_values(scope, b"authorization"):
        scheme, _, key = value.partition(b" ")
        if scheme.lower() == b"bearer":
            presented.append(key.strip())
    return presented
