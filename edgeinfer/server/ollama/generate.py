"""POST /api/generate."""

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
from edgeinfer.server.ollama.schemas.generate import OllamaGenerateRequest
from edgeinfer.server.ollama.times import now
from edgeinfer.server.ollama.translate import prompt_call
from edgeinfer.server.ollama.types import OllamaGenerateResponse, OllamaToolCall
from edgeinfer.server.state import answering_model
from edgeinfer.serving.chat import ChatCall, start_chat
from edgeinfer.serving.completion import start_completion


class GenerateBuilder(OllamaResponseBuilder):
    def part(
        self,
        content: str = "",
        thinking: str = "",
        calls: Sequence[OllamaToolCall] = (),  # noqa: ARG002  # a prompt has no tools
        *,
        done: bool = False,
    ) -> OllamaGenerateResponse:
        return OllamaGenerateResponse(self._model, now(), content, done, or_unset(thinking))


async def generate(request: Request) -> Response:
    """Answer a prompt, continue it if it is `raw`, or fill the gap before a `suffix`.

    Without a prompt, load the model, or unload it if `keep_alive` is 0.
    """
    began = time.monotonic()
    body, call = await read_as(request, OllamaGenerateRequest, lambda body: (body, prompt_call(body)))
    model = answering_model(request, body.model)
    if not body.prompt and not body.suffix:
        reason = await cancel_on_disconnect(request.receive, load_or_unload(request, model, body))
        return json_response(OllamaGenerateResponse(body.model, now(), "", done=True, done_reason=reason))

    async def start() -> GenerateBuilder:
        info = await model.text_model()
        loaded = time.monotonic()
        await check_thinking(model, info, body)

        def ended() -> None:
            keep(request, model, body.keep_alive)

        caller = principal_of(request.scope).caller()
        if isinstance(call, ChatCall):
            return GenerateBuilder(
                body.model, await start_chat(model, caller, call), began=began, loaded=loaded, ended=ended
            )
        reply = await start_completion(model, caller, call)
        return GenerateBuilder(body.model, reply, began=began, loaded=loaded, ended=ended)

    return await respond(request, start, stream=body.stream)
