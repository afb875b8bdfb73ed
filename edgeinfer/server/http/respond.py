"""The routes, one file a family, each with a `router()`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.disconnect import until_gone
from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.server.http.sse import EventStream
from edgeinfer.server.openai.types import json
from edgeinfer.serving.merge import Deltas


class Answering(Protocol):
    """What makes an answer of deltas, whole or as server-sent events."""

    async def whole(self, deltas: Deltas) -> Any: ...

    def chunks(self, deltas: Deltas) -> AsyncGenerator[bytes, None]: ...


async def respond(
    request: Request, begin: Coroutine[Any, Any, tuple[Answering, Deltas]], *, stream: bool
) -> Response:
    """What `begin` begins, to its end, or until the client is gone."""
    answer, deltas = await until_gone(request.receive, begin)
    if stream:
        return EventStream(answer.chunks(deltas))
    return json(await until_gone(request.receive, answer.whole(deltas)))


def takes(model: type[RequestModel]) -> dict[str, Any]:
    """What /openapi.json says of a route whose body is a `model`; `server.docs` adds the model itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
