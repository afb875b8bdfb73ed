"""POST /v1/responses and /v1/responses/input_tokens."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read_as
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.headers import name_ignored
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.sse import EventStream
from edgeinfer.server.responses.history import History, item_id
from edgeinfer.server.responses.response_writer import ResponseWriter
from edgeinfer.server.responses.schemas.items import InputItem, MessageItem
from edgeinfer.server.responses.schemas.request import ResponsesRequest
from edgeinfer.server.responses.store import StoredResponse, in_store_thread
from edgeinfer.server.responses.translate import PreparedRequest, begin_response, prepare
from edgeinfer.server.responses.types import InputTokens, ResponseObject
from edgeinfer.server.state import answering_model, state_of
from edgeinfer.serving.caller import engine_name
from edgeinfer.serving.chat import ChatCall, count_prompt_tokens, start_chat

PROGRESS_INTERVAL = 10.0
"""Seconds without an event after which a stream repeats `response.in_progress`."""

ID_PREFIXES = {
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
"""Of the ids of items in the input; all others have that of messages."""


async def create(request: Request) -> Response:
    """Answer a conversation of items."""
    prepared = await read_as(request, ResponsesRequest, prepare)
    name_ignored(request.scope, prepared.ignored)
    own, call = await _conversation(request, prepared)
    writer = _writer(request, prepared, own, call)
    if not prepared.body.stream:
        return json_response(await cancel_on_disconnect(request.receive, writer.build()))

    async def start() -> AsyncGenerator[bytes, None]:
        return writer.stream()

    return EventStream(start, PROGRESS_INTERVAL, keep_alive=writer.keep_alive, error=writer.error)


async def count_input(request: Request) -> Response:
    """The number of tokens that the prompt of a request would have."""
    prepared = await read_as(request, ResponsesRequest, prepare)
    name_ignored(request.scope, prepared.ignored)
    _, call = await _conversation(request, prepared)
    model = state_of(request).registry.get(prepared.body.model)
    counting = count_prompt_tokens(model, principal_of(request.scope).caller(), call)
    return json_response(InputTokens(await cancel_on_disconnect(request.receive, counting)))


def history_of(request: Request) -> History:
    """The stored responses of the sender of a request."""
    return History(state_of(request).responses, _owner(request))


def _owner(request: Request) -> str:
    return engine_name(principal_of(request.scope).id)


async def _conversation(request: Request, prepared: PreparedRequest) -> tuple[list[InputItem], ChatCall]:
    """The request's own items, with stored ones for references, and the call for the whole conversation."""
    history, body = history_of(request), prepared.body
    if prepared.whole_call:
        return body.items, prepared.whole_call

    def read() -> tuple[list[InputItem], ChatCall]:
        earlier = history.conversation(body.previous_response_id) if body.previous_response_id else []
        own = history.resolved(body.items)
        return own, prepared.call([*earlier, *own])

    return await in_store_thread(read)


def _writer(
    request: Request, prepared: PreparedRequest, own: Sequence[InputItem], call: ChatCall
) -> ResponseWriter:
    state, body = state_of(request), prepared.body
    model = answering_model(request, body.model, body.prompt_cache_key)
    caller = principal_of(request.scope).caller(body.cache_salt, body.prompt_cache_key)
    id = f"resp_{uuid.uuid4().hex}"
    stores = body.store and state.responses.enabled
    owner = _owner(request)

    async def save(response: ResponseObject) -> None:
        if stores:
            await in_store_thread(partial(store, response))

    def store(response: ResponseObject) -> None:
        whole = msgspec.json.decode(msgspec.json.encode(response))
        items = [_as_stored(entry, id, n) for n, entry in enumerate(own)]
        stored = StoredResponse(input=items, previous=body.previous_response_id, response=whole)
        state.responses.save(owner, id, stored)

    beginning = begin_response(id, prepared, model.name, store=stores)
    return ResponseWriter(beginning, prepared.options, partial(start_chat, model, caller, call), save)


def _as_stored(entry: InputItem, response: str, number: int) -> dict[str, Any]:
    """An item as it is stored: with an id, its own if it has one, and a message's text as a part."""
    item, stored = entry.item, dict(entry.raw)
    if not isinstance(stored.get("id"), str):
        stored["id"] = item_id(ID_PREFIXES.get(item.type, "msg"), response, number)
    if isinstance(item, MessageItem):
        stored.setdefault("status", "completed")
        if isinstance(item.content, str):
            kind = "output_text" if item.role == "assistant" else "input_text"
            stored["content"] = [{"type": kind, "text": item.content}]
    return stored
