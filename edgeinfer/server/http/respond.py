"""Answers a request with what a generation brings: whole, or as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.disconnect import until_gone
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.sse import EventStream
from edgeinfer.serving.merge import Deltas


class Answering(Protocol):
    """Makes an answer of deltas, whole or as server-sent events."""

    async def whole(self, deltas: Deltas) -> Any: ...

    def chunks(self, deltas: Deltas) -> AsyncGenerator[bytes, None]: ...


async def respond(
    request: Request, begin: Callable[[], Awaitable[tuple[Answering, Deltas]]], *, stream: bool
) -> Response:
    """What `begin` begins, to its end, or until the client is gone."""

    async def start() -> AsyncGenerator[bytes, None]:
        answer, deltas = await begin()
        return answer.chunks(deltas)

    async def whole() -> Any:
        answer, deltas = await begin()
        return await answer.whole(deltas)

    return EventStream(start) if stream else json_response(await until_gone(request.receive, whole()))
