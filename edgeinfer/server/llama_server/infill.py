"""POST /infill."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import respond
from edgeinfer.server.llama_server.completion import check_loaded
from edgeinfer.server.llama_server.infill_response import InfillBuilder
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.state import registry_of
from edgeinfer.serving.infill import ContextFile, InfillCall, start_infill


async def infill(request: Request, autoload: str = "true") -> Response:
    """Fill the gap between two texts, as llama-server does for editors. `autoload=false` does not wait for a model."""
    body = await read(request, InfillRequest)

    async def start() -> InfillBuilder:
        model = registry_of(request).get(body.model)  # llama.vim sends "" where none is set
        check_loaded(model, autoload)
        reply = await start_infill(
            model,
            principal_of(request.scope).caller(body.cache_salt, body.prompt_cache_key),
            infill_call(body),
        )
        return InfillBuilder(reply, body)

    return await respond(request, start, stream=body.stream)


def infill_call(request: InfillRequest) -> InfillCall:
    """Raises InvalidRequest for fields that contradict each other."""
    request.check_stream()
    return InfillCall(
        prefix=request.input_prefix,
        suffix=request.input_suffix,
        middle=request.prompt,
        files=[ContextFile(file.filename, file.text) for file in request.input_extra],
        sampling=request.infill_sampling(),
        num_ctx=request.num_ctx,
    )
