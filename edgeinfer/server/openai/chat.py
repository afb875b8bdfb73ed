"""POST /v1/chat/completions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read_as
from edgeinfer.server.http.respond import respond
from edgeinfer.server.middleware.rate_limit import count_answers
from edgeinfer.server.openai.chat_response import ChatResponseBuilder
from edgeinfer.server.openai.function_response import FunctionResponseBuilder
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.server.openai.translate import chat_call
from edgeinfer.server.state import answering_model
from edgeinfer.serving.chat import start_chat


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    body, call = await read_as(request, ChatRequest, lambda body: (body, chat_call(body)))

    async def start() -> ChatResponseBuilder:
        count_answers(request.scope, body.n)
        model = answering_model(request, body.model, body.prompt_cache_key)
        reply = await start_chat(
            model, principal_of(request.scope).caller(body.cache_salt, body.prompt_cache_key), call
        )
        builder = FunctionResponseBuilder if body.functions else ChatResponseBuilder
        return builder(reply, include_usage=body.include_usage)

    return await respond(request, start, stream=body.stream)
