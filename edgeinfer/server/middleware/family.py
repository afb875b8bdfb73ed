"""The middleware that finds the path of a request and its API family, before anything else looks at them."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from edgeinfer.server.http.family import SCOPE_KEY, Families


class FamilyMiddleware:
    """Records the family that owns the path in the scope, so that every error has its shape.

    A slash at the end of the path is taken off, for everybody after this: keys, limits and routes see the same path.
    """

    def __init__(self, app: ASGIApp, families: Families) -> None:
        self.app = app
        self.families = families

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = _without_slash(scope["path"], scope.get("root_path", ""))
            scope[SCOPE_KEY] = self.families.of(scope["path"], scope["headers"])
        await self.app(scope, receive, send)


def _without_slash(path: str, root: str) -> str:
    """The path without one slash at its end, unless that is all of it or not the only one."""
    return path[:-1] if path.endswith("/") and not path.endswith("//") and path != f"{root}/" else path
