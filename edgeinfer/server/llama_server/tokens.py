"""POST /tokenize, /detokenize and /apply-template, as llama-server has them."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Span
from edgeinfer.server.auth.principal import caller_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import takes
from edgeinfer.server.llama_server.schemas.tokens import DetokenizeRequest, TokenizeRequest
from edgeinfer.server.openai.schemas.chat import ApplyTemplateRequest
from edgeinfer.server.openai.translate import to_messages
from edgeinfer.server.openai.types import Content, RenderedPrompt, TokenList, TokenPiece, json
from edgeinfer.server.state import the_daemon


def router() -> APIRouter:
    found = APIRouter(tags=["tokens"])
    found.add_api_route("/tokenize", tokenize, methods=["POST"], openapi_extra=takes(TokenizeRequest))
    found.add_api_route("/detokenize", detokenize, methods=["POST"], openapi_extra=takes(DetokenizeRequest))
    extra = takes(ApplyTemplateRequest)
    found.add_api_route("/apply-template", apply_template, methods=["POST"], openapi_extra=extra)
    return found


async def tokenize(request: Request) -> Response:
    """A text's tokens."""
    asked = await read(request, TokenizeRequest)
    daemon = the_daemon(request)
    await daemon.model(asked.model)
    span = Span(asked.content, asked.parse_special)
    async with daemon.errands.take(caller_of(request.scope).id):
        found = await daemon.client.tokenize([span], add_bos=asked.add_special)
    if not asked.with_pieces:
        return json(TokenList(found.ids))
    pieces = zip(found.ids, found.pieces, strict=True)
    return json(TokenList([TokenPiece(token, _piece(piece)) for token, piece in pieces]))


async def detokenize(request: Request) -> Response:
    """The text of tokens."""
    asked = await read(request, DetokenizeRequest)
    daemon = the_daemon(request)
    info = await daemon.model(asked.model)
    for i, token in enumerate(asked.tokens):
        if token >= info.vocab_size:
            message = f"token {token} is outside the vocabulary of {info.vocab_size}"
            raise InvalidRequest(message, param=f"tokens[{i}]")
    async with daemon.errands.take(caller_of(request.scope).id):
        return json(Content(await daemon.client.detokenize(asked.tokens)))


async def apply_template(request: Request) -> Response:
    """The prompt that the model's template makes of a conversation."""
    asked = await read(request, ApplyTemplateRequest)
    daemon = the_daemon(request)
    messages = to_messages(asked.messages)
    info = await daemon.model(asked.model)
    prompt = await daemon.prompter(info).build(
        messages,
        tools=asked.tools or (),
        add_generation_prompt=asked.add_generation_prompt,
        template_kwargs=asked.chat_template_kwargs,
    )
    return json(RenderedPrompt("".join(span.text for span in prompt.spans)))


def _piece(piece: bytes) -> str | list[int]:
    """Text, or a list of bytes where a token is no whole characters."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
