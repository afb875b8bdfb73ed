"""POST /infill."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.chat.fim import (
    NEEDS_FIM,
    FimParts,
    extra_file_text,
    fim_prompt,
    fit_parts,
    surely_fits,
    untrusted_text,
)
from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import FimTokens, ModelInfo, Prompt, Span, Tokens
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import respond
from edgeinfer.server.llama_server.infill_response import InfillBuilder
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.openai.schemas.inputs import check_length
from edgeinfer.server.state import registry_of
from edgeinfer.serving.merge import Deltas
from edgeinfer.serving.model import ServedModel

COUNTED = 16
"""Characters for each token that there is room for: code has three or four."""


async def infill(request: Request) -> Response:
    """Fill a hole between two texts, as llama-server does for editors."""
    asked = await read(request, InfillRequest)
    return await respond(request, lambda: _begin(request, asked), stream=asked.stream)


async def _begin(request: Request, asked: InfillRequest) -> tuple[InfillBuilder, Deltas]:
    caller = principal_of(request.scope).id
    asked.check_stream()
    model = registry_of(request).get(asked.model)  # llama.vim sends "" where none is set
    info = await model.text_model()
    if info.fim is None:
        message = f"{info.name} has no fill-in-the-middle tokens"
        raise InvalidRequest(message, param="model", hint=NEEDS_FIM)
    params = asked.infill_params(info)
    async with model.short_jobs.take(caller):
        prompt, cut = await _prompt(model, info, info.fim, asked)
    return InfillBuilder(asked, info, cut), model.generate(caller, [prompt], params, info=info)


async def _prompt(
    model: ServedModel, info: ModelInfo, fim: FimTokens, asked: InfillRequest
) -> tuple[Prompt, bool]:
    """The prompt, and whether something had to be left out of it."""
    check_length(asked.prompt, info, "prompt")
    extra = [extra_file_text(fim, file.filename, file.text) for file in asked.input_extra]
    texts = [asked.input_prefix, asked.input_suffix, asked.prompt, *extra]
    room = _room(info, asked)
    if surely_fits(texts, room):
        prefix, suffix, middle, *files = map(untrusted_text, texts)
        return fim_prompt(fim, FimParts(prefix, suffix, middle, files)), False
    near = _near(asked, extra, room * COUNTED)
    prefix_, suffix_, middle_, *files_ = await asyncio.gather(*(_tokens(model, text) for text in near))
    hole, cut = fit_parts(prefix_, suffix_, middle_, files_, room)
    return fim_prompt(fim, hole), cut or near != texts


def _near(asked: InfillRequest, extra: list[str], most: int) -> list[str]:
    """Of the texts what is nearest to the hole, `most` characters of each side and of the files: what is further
    away would be counted only to be cut.
    """
    first, left = len(extra), most
    while first and len(extra[first - 1]) <= left:
        first -= 1
        left -= len(extra[first])
    return [asked.input_prefix[-most:], asked.input_suffix[:most], asked.prompt, *extra[first:]]


def _room(info: ModelInfo, asked: InfillRequest) -> int:
    """Tokens for the prompt: what the answer leaves of the context, which is three quarters at least."""
    limit, quarter = asked.limit(), info.ctx // 4
    return info.ctx - max(1, quarter if limit is None else min(limit, quarter))


async def _tokens(model: ServedModel, text: str) -> Tokens:
    return await model.tokenize([Span(text, trusted=False)])
