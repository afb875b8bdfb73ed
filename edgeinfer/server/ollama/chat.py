"""POST /api/chat."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read_as
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.respond import respond
from edgeinfer.server.ollama.keep_alive import keep
from edgeinfer.server.ollama.loading import check_thinking, load_or_unload
from edgeinfer.server.ollama.response import OllamaResponseBuilder, or_unset
from edgeinfer.server.ollama.schemas.chat import OllamaChatRequest
from edgeinfer.server.ollama.times import now
from edgeinfer.server.ollama.translate import chat_call
from edgeinfer.server.ollama.types import OllamaChatResponse, OllamaMessage, OllamaToolCall
from edgeinfer.server.state import answering_model
from edgeinfer.serving.chat import start_chat


class OllamaChatBuilder(OllamaResponseBuilder):
    def part(
        self,
        content: str = "",
        thinking: str = "",
        calls: Sequence[OllamaToolCall] = (),
        *,
        done: bool = False,
    ) -> OllamaChatResponse:
        message = OllamaMessage("assistant", content, or_unset(thinking), or_unset(list(calls)))
        return OllamaChatResponse(self._model, now(), message, done)


async def chat(request: Request) -> Response:
    """Answer a conversation; without messages, load the model, or unload it if `keep_alive` is 0."""
    began = time.monotonic()
    body, call = await read_as(request, OllamaChatRequest, lambda body: (body, chat_call(body)))
    model = answering_model(request, body.model)
    if not body.messages:
        reason = await cancel_on_disconnect(request.receive, load_or_unload(request, model, body))
        response = OllamaChatResponse(body.model, now(), OllamaMessage(), done=True, done_reason=reason)
        return json_response(response)

    async def start() -> OllamaChatBuilder:
        info = await model.text_model()
        loaded = time.monotonic()
        await check_thinking(model, info, body)

        def ended() -> None:
            keep(request, model, body.keep_alive)

        reply = await start_chat(model, principal_of(request.scope).caller(), call)
        return OllamaChatBuilder(body.model, reply, began=began, loaded=loaded, ended=ended)

    return await respond(request, start, stream=body.stream)
