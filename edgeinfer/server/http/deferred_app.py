"""An ASGI application that is built after its server: importing what it needs takes seconds on a small board."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class DeferredApp:
    """Stands for the application that `build` returns; it must have been built before the first request."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._app: ASGIApp | None = None

    def build(self) -> None:
        """Build the application. Blocks, and may raise what its builder raises."""
        self._app = self._build()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None
        await self._app(scope, receive, send)
