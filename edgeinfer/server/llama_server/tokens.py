"""POST /tokenize, /detokenize and /apply-template, as llama-server has them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Span
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.llama_server.schemas.tokens import DetokenizeRequest, TokenizeRequest
from edgeinfer.server.openai.schemas.chat import ApplyTemplateRequest
from edgeinfer.server.openai.translate import to_messages
from edgeinfer.server.openai.types import Content, RenderedPrompt, TokenList, TokenPiece
from edgeinfer.server.state import registry_of


async def tokenize(request: Request) -> Response:
    """A text's tokens."""
    asked = await read(request, TokenizeRequest)
    model = registry_of(request).get(asked.model)
    await model.ready()
    span = Span(asked.content, asked.parse_special)
    async with model.short_jobs.take(principal_of(request.scope).id):
        found = await model.tokenize([span], add_bos=asked.add_special)
    if not asked.with_pieces:
        return json_response(TokenList(found.ids))
    pieces = zip(found.ids, found.pieces, strict=True)
    return json_response(TokenList([TokenPiece(token, _piece(piece)) for token, piece in pieces]))


async def detokenize(request: Request) -> Response:
    """The text of tokens."""
    asked = await read(request, DetokenizeRequest)
    model = registry_of(request).get(asked.model)
    info = await model.ready()
    for i, token in enumerate(asked.tokens):
        if token >= info.vocab_size:
            message = f"token {token} is outside the vocabulary of {info.vocab_size}"
            raise InvalidRequest(message, param=f"tokens[{i}]")
    async with model.short_jobs.take(principal_of(request.scope).id):
        return json_response(Content(await model.detokenize(asked.tokens)))


async def apply_template(request: Request) -> Response:
    """The prompt that the model's template makes of a conversation."""
    asked = await read(request, ApplyTemplateRequest)
    messages = to_messages(asked.messages)
    model = registry_of(request).get(asked.model)
    info = await model.ready()
    prompt = await model.prompt_builder(info).build(
        messages,
        tools=asked.tools or (),
        add_generation_prompt=asked.add_generation_prompt,
        template_kwargs=asked.chat_template_kwargs,
    )
    return json_response(RenderedPrompt("".join(span.text for span in prompt.spans)))


def _piece(piece: bytes) -> str | list[int]:
    """Text, or a list of bytes where a token is no whole characters."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
