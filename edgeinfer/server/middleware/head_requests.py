"""The middleware that answers HEAD wherever there is GET."""

from __future__ import annotations

import asyncio

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.server.http.disconnect import ClientDisconnected
from edgeinfer.server.http.family import Families


class HeadRequestMiddleware:
    """Lets the application answer GET, and sends only the head of its response. A stream ends there.

    Routes that take HEAD themselves get it.
    """

    def __init__(self, app: ASGIApp, families: Families) -> None:
        self.app = app
        routes = [route for family in families.all for route in family.routes]
        self._own = [compile_path(route.path)[0] for route in routes if "HEAD" in route.methods]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._is_own(scope):
            await self.app(scope, receive, send)
            return
        sent = asyncio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["method"] = "HEAD"  # the server looks at it again
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                sent.set()

        async def receive_until_sent() -> Message:
            message = asyncio.ensure_future(receive())
            end = asyncio.ensure_future(sent.wait())
            try:
                await asyncio.wait((message, end), return_when=asyncio.FIRST_COMPLETED)
                return {"type": "http.disconnect"} if sent.is_set() else message.result()
            finally:
                message.cancel()
                end.cancel()

        scope["method"] = "GET"
        try:
            await self.app(scope, receive_until_sent, send_head)
        except ClientDisconnected:
            if not sent.is_set():
                raise
        finally:
            scope["method"] = "HEAD"

    def _is_own(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return any(pattern.match(path) for pattern in self._own)
