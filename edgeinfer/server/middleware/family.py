"""The middleware that finds the API family of a request, before anything can fail."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from edgeinfer.server.http.family import SCOPE_KEY, Families


class FamilyMiddleware:
    """Records the family that owns the path in the scope, so that every error has its shape."""

    def __init__(self, app: ASGIApp, families: Families) -> None:
        self.app = app
        self.families = families

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[SCOPE_KEY] = self.families.of(scope["path"], scope["headers"])
        await self.app(scope, receive, send)
