"""POST /completion and /completions, which is not OpenAI's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import respond
from edgeinfer.server.llama_server.completion_response import CompletionBuilder
from edgeinfer.server.llama_server.errors import check_not_loading
from edgeinfer.server.llama_server.schemas.completion import LlamaCompletionRequest
from edgeinfer.server.middleware.rate_limit import count_answers
from edgeinfer.server.state import answering_model
from edgeinfer.serving.completion import CompletionCall, start_completion
from edgeinfer.serving.model import ServedModel


async def completion(request: Request, autoload: str = "true") -> Response:
    """Continue one or several prompts, as llama-server does. With `autoload=false` only a loaded model answers."""
    body = await read(request, LlamaCompletionRequest)

    async def start() -> CompletionBuilder:
        count_answers(request.scope, body.n * len(body.prompt))
        model = answering_model(request, body.model)
        check_loaded(model, autoload)
        caller = principal_of(request.scope).caller(body.cache_salt)
        return CompletionBuilder(await start_completion(model, caller, completion_call(body)), body)

    return await respond(request, start, stream=body.stream)


def check_loaded(model: ServedModel, autoload: str) -> None:
    """Check that a request which does not want to wait need not.

    Raises:
        NotReady: the model is being loaded.
        InvalidRequest: it is not loaded.
    """
    if autoload.lower() not in ("0", "false") or model.info:
        return
    check_not_loading(model)
    raise InvalidRequest("model is not loaded", param="model", hint="POST /models/load loads it")


def completion_call(request: LlamaCompletionRequest) -> CompletionCall:
    """Raises InvalidRequest for fields that contradict each other."""
    request.check_stream()
    request.check_format()
    return CompletionCall(
        prompts=request.prompt,
        echo=request.wants("prompt"),
        response_format=request.format_source(),
        complete=request.complete,
        sampling=request.sampling(request.token_limit(), request.n_probs or None),
        n=request.n,
        num_ctx=request.num_ctx,
    )
