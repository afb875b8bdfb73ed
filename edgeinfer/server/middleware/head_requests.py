"""The middleware that answers HEAD wherever there is GET."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.server.http.disconnect import ClientDisconnected


class HeadRequestMiddleware:
    """Lets the application answer GET, and sends only the head of its response. A stream ends there."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
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
