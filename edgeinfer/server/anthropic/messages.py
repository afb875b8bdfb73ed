"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import ModelNotFound
from edgeinfer.server.anthropic.response import MessageBuilder
from edgeinfer.server.anthropic.schemas.messages import CountTokensRequest, MessagesRequest
from edgeinfer.server.anthropic.translate import chat_call, prompt_call, skipped_tools
from edgeinfer.server.anthropic.types import TokenCount
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read_as
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.headers import name_ignored
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.respond import respond
from edgeinfer.server.state import answering_model
from edgeinfer.serving.chat import count_prompt_tokens, start_chat
from edgeinfer.serving.model import ServedModel

CLAUDE_HINT = (
    'name one of them (claude --model NAME), or let the name mean one: aliases = ["{name}"] in a table '
    "[models.NAME] of the configuration file"
)


async def messages(request: Request) -> Response:
    """Answer a conversation."""
    body, call = await read_as(request, MessagesRequest, lambda body: (body, chat_call(body)))
    name_ignored(request.scope, skipped_tools(body))

    async def start() -> MessageBuilder:
        model = _model(request, body.model, body.session)
        caller = principal_of(request.scope).caller(session=body.session)
        reply = await start_chat(model, caller, call)
        return MessageBuilder(reply, max_tokens=body.max_tokens, show_thoughts=body.shows_thoughts)

    return await respond(request, start, stream=body.stream)


async def count_tokens(request: Request) -> Response:
    """The number of tokens that the prompt of a request would have."""
    body, call = await read_as(request, CountTokensRequest, lambda body: (body, prompt_call(body)))
    name_ignored(request.scope, skipped_tools(body))
    counting = count_prompt_tokens(_model(request, body.model), principal_of(request.scope).caller(), call)
    return json_response(TokenCount(await cancel_on_disconnect(request.receive, counting)))


def _model(request: Request, name: str | None, session: object = None) -> ServedModel:
    """The model that a request names. Raises ModelNotFound, which says how a Claude's name can mean one of ours."""
    try:
        return answering_model(request, name, session)
    except ModelNotFound as e:
        if name and name.lower().startswith("claude"):
            e.hint = CLAUDE_HINT.format(name=name[:64])
        raise
