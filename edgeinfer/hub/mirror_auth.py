"""Lets only clients with a key use a mirror: as a token, which huggingface_hub sends, or as a password, as pip does."""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

REFUSED = "Invalid credentials in Authorization header"
"""Without exactly this message huggingface_hub takes a 401 for a missing repository."""


class MirrorKeys(Protocol):
    """Knows the keys that clients of a mirror may use."""

    def accept(self, presented: bytes) -> bool: ...


class MirrorAuth:
    """Refuses requests without exactly one of the keys."""

    def __init__(self, app: ASGIApp, keys: MirrorKeys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._opens(scope):
            headers = {"X-Error-Message": REFUSED, "WWW-Authenticate": 'Basic realm="edgeinfer mirror"'}
            await JSONResponse({"error": REFUSED}, 401, headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _opens(self, scope: Scope) -> bool:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        key = presented_key(values[0]) if len(values) == 1 else None
        return key is not None and self.keys.accept(key)


def presented_key(authorization: bytes) -> bytes | None:
    """Return the key in an Authorization header; a user's name is ignored, unless there is no password."""
    scheme, _, value = authorization.partition(b" ")
    match scheme.lower():
        case b"bearer":
            return value.strip()
        case b"basic":
            try:
                user, _, password = base64.b64decode(value.strip(), validate=True).partition(b":")
            except binascii.Error:
                return None
            return password or user
    return None
