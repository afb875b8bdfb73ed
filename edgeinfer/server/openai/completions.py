"""POST /v1/completions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import respond
from edgeinfer.server.middleware.rate_limit import count_answers
from edgeinfer.server.openai.completion_response import CompletionResponseBuilder
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.translate import completion_call
from edgeinfer.server.state import answering_model
from edgeinfer.serving.completion import start_completion


async def completions(request: Request) -> Response:
    """Continue a text, in which control tokens are recognised; or, with a suffix, fill the gap before it."""
    body = await read(request, CompletionRequest)

    async def start() -> CompletionResponseBuilder:
        count_answers(request.scope, body.n * len(body.prompt))
        model = answering_model(request, body.model, body.prompt_cache_key)
        reply = await start_completion(
            model,
            principal_of(request.scope).caller(body.cache_salt, body.prompt_cache_key),
            completion_call(body),
        )
        return CompletionResponseBuilder(
            reply, include_usage=body.include_usage, top_logprobs=body.logprobs or 0
        )

    return await respond(request, start, stream=body.stream)
