"""Stored responses: /v1/responses/{response_id} and what is below it."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest, NotFound, UnsupportedParameter
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.quoting import quoted
from edgeinfer.server.responses.create import history_of
from edgeinfer.server.responses.store import StoredResponse, in_store_thread
from edgeinfer.server.responses.types import DeletedResponse, ItemList

MAX_PAGE = 100
DEFAULT_PAGE = 20


async def retrieve(request: Request, response_id: str) -> Response:
    """Repeat a stored response."""
    if request.query_params.get("stream", "false").lower() not in ("false", "0", ""):
        raise UnsupportedParameter(
            "a stored response is not streamed again", param="stream", hint="leave stream out: it comes whole"
        )
    return json_response((await _stored(request, response_id)).response)


async def delete(request: Request, response_id: str) -> Response:
    """Delete a stored response. Those that continue it cannot be continued any more."""
    if not await in_store_thread(partial(history_of(request).delete, response_id)):
        raise _not_found(response_id)
    return json_response(DeletedResponse(response_id))


async def cancel(request: Request, response_id: str) -> Response:
    """Refuse to cancel: every response that is stored has ended."""
    await _stored(request, response_id)
    raise InvalidRequest(
        "the response has ended; only one in the background could be cancelled, and there are none here",
        param="response_id",
        hint="to cancel a response, close its connection",
    )


async def input_items(request: Request, response_id: str) -> Response:
    """List the items of the request that a stored response answers, the last one first."""
    query = request.query_params
    size, order = _page_size(query.get("limit")), query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be 'asc' or 'desc'", param="order")
    items = (await _stored(request, response_id)).input
    if order == "desc":
        items = items[::-1]
    if after := query.get("after"):
        place = next((n for n, item in enumerate(items) if item.get("id") == after), None)
        if place is None:
            raise InvalidRequest(f"there is no item {quoted(after)} in this input", param="after")
        items = items[place + 1 :]
    page = items[:size]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return json_response(ItemList(page, first, last, has_more=len(items) > size))


async def _stored(request: Request, id: str) -> StoredResponse:
    stored = await in_store_thread(partial(history_of(request).load, id))
    if stored is None:
        raise _not_found(id)
    return stored


def _page_size(limit: str | None) -> int:
    if limit is None:
        return DEFAULT_PAGE
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= MAX_PAGE):
        raise InvalidRequest(f"limit must be a whole number from 1 to {MAX_PAGE}", param="limit")
    return int(limit)


def _not_found(id: str) -> NotFound:
    return NotFound(
        f"there is no stored response {quoted(id)}",
        param="response_id",
        hint="responses are stored for responses_store_hours, for the key or address that made them",
    )
