"""Answers a request with a reply: whole, or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.sse import EventStream


class Building(Protocol):
    """Renders a reply."""

    async def build(self) -> Any:
        """The whole response."""
        ...

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Events in the format of the family's streams."""
        ...


async def respond(request: Request, start: Callable[[], Awaitable[Building]], *, stream: bool) -> Response:
    """The response of the builder that `start` makes, unless the client disconnects first."""

    async def events() -> AsyncGenerator[bytes, None]:
        return (await start()).stream()

    async def build() -> Any:
        return await (await start()).build()

    return (
        EventStream(events) if stream else json_response(await cancel_on_disconnect(request.receive, build()))
    )
