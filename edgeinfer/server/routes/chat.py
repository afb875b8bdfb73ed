"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.engine.output import Delta
from edgeinfer.server.answers import Answer, Kind
from edgeinfer.server.body import read
from edgeinfer.server.daemon import the_daemon
from edgeinfer.server.disconnect import until_gone
from edgeinfer.server.logprobs import chat_logprobs
from edgeinfer.server.merge import Deltas
from edgeinfer.server.routes import takes
from edgeinfer.server.schemas.chat import ChatRequest
from edgeinfer.server.sse import EventStream
from edgeinfer.server.wire import (
    ChatChoice,
    ChatChunkChoice,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    Choice,
    json,
)


def router() -> APIRouter:
    found = APIRouter(tags=["generate"])
    found.add_api_route("/v1/chat/completions", chat, methods=["POST"], openapi_extra=takes(ChatRequest))
    return found


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    asked = await read(request, ChatRequest)
    answer, deltas = await until_gone(request.receive, _begin(request, asked))
    if asked.stream:
        return EventStream(answer.chunks(deltas))
    return json(await until_gone(request.receive, answer.whole(deltas)))


async def _begin(request: Request, asked: ChatRequest) -> tuple[ChatAnswer, Deltas]:
    """Check everything and render the prompt. Nothing is generated before the deltas are read."""
    daemon = the_daemon(request)
    asked.check_stream()
    messages, logprobs, limit = asked.plain_messages(), asked.wanted_logprobs(), asked.limit()
    info = await daemon.generator(asked.model)
    params = asked.params(info, logprobs, limit)
    prompt = await daemon.prompter(info).prompt(messages, template_kwargs=asked.chat_template_kwargs)
    return ChatAnswer(asked, info.name), daemon.generate([prompt], params, asked.n)


class ChatAnswer(Answer):
    id_prefix: ClassVar[str] = "chatcmpl"
    whole_kind: ClassVar[Kind] = "chat.completion"
    chunk_kind: ClassVar[Kind] = "chat.completion.chunk"

    def choice(self, index: int, text: str, reason: str) -> Choice:
        return ChatChoice(index, ChatMessage(text), self._take(index), reason)

    def pieces(self, delta: Delta, first: bool) -> list[Choice]:
        found: list[Choice] = []
        index = delta.index
        if first:
            found.append(ChatChunkChoice(index, ChatDelta("assistant", "")))
        logprobs = self._take(index) if delta.text or delta.finish else None
        if delta.text or logprobs:
            found.append(ChatChunkChoice(index, ChatDelta(content=delta.text), logprobs))
        if delta.finish:
            found.append(ChatChunkChoice(index, ChatDelta(), None, delta.finish.reason))
        return found

    def _take(self, index: int) -> ChatLogprobs | None:
        taken = self.take_logprobs(index)
        return chat_logprobs(taken) if taken else None
