"""POST /tokenize, /detokenize and /apply-template, as in llama-server."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Span
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read, read_as
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.llama_server.schemas.tokens import DetokenizeRequest, TokenizeRequest
from edgeinfer.server.llama_server.types import (
    ApplyTemplateResponse,
    ChatInputTokens,
    DetokenizeResponse,
    TokenizeResponse,
    TokenPiece,
)
from edgeinfer.server.openai.schemas.chat import ApplyTemplateRequest, ChatRequest
from edgeinfer.server.openai.translate import chat_call, to_messages, to_tools
from edgeinfer.server.state import registry_of
from edgeinfer.serving.chat import count_prompt_tokens


async def tokenize(request: Request) -> Response:
    """The tokens of a text."""
    body = await read(request, TokenizeRequest)
    model = registry_of(request).get(body.model)
    info, caller = await model.ready(), principal_of(request.scope).caller()
    span = Span(body.content, body.parse_special)
    async with model.short_jobs.take(caller):
        tokens = await model.tokenize(caller, [span], add_bos=body.add_special, info=info)
    if not body.with_pieces:
        return json_response(TokenizeResponse(tokens.ids))
    pieces = zip(tokens.ids, tokens.pieces, strict=True)
    return json_response(TokenizeResponse([TokenPiece(token, _piece(piece)) for token, piece in pieces]))


async def detokenize(request: Request) -> Response:
    """The text of tokens."""
    body = await read(request, DetokenizeRequest)
    model = registry_of(request).get(body.model)
    info, caller = await model.ready(), principal_of(request.scope).caller()
    for i, token in enumerate(body.tokens):
        if token >= info.vocab_size:
            message = f"token {token} is outside the vocabulary of {info.vocab_size}"
            raise InvalidRequest(message, param=f"tokens[{i}]")
    async with model.short_jobs.take(caller):
        return json_response(DetokenizeResponse(await model.detokenize(caller, body.tokens, info=info)))


async def count_tokens(request: Request) -> Response:
    """The number of tokens in the prompt of a conversation."""
    name, call = await read_as(request, ChatRequest, lambda body: (body.model, chat_call(body)))
    model, caller = registry_of(request).get(name), principal_of(request.scope).caller()
    counting = count_prompt_tokens(model, caller, call)
    return json_response(ChatInputTokens(await cancel_on_disconnect(request.receive, counting)))


async def apply_template(request: Request) -> Response:
    """The prompt that the model's template renders for a conversation."""
    body, messages, tools = await read_as(
        request,
        ApplyTemplateRequest,
        lambda body: (body, to_messages(body.messages), to_tools(body.tools or ())),
    )
    model = registry_of(request).get(body.model)
    info = await model.ready()
    async with model.renderings.take(principal_of(request.scope).caller()):
        prompt = await model.prompt_builder(info).build(
            messages,
            tools=[tool.definition for tool in tools],
            add_generation_prompt=body.add_generation_prompt,
            template_kwargs=body.chat_template_kwargs,
        )
    return json_response(ApplyTemplateResponse("".join(span.text for span in prompt.spans)))


def _piece(piece: bytes) -> str | list[int]:
    """A token's text, or its bytes if they are not whole characters."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
