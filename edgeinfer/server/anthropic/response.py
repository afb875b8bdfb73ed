"""Renders a reply as Anthropic's message, whole or as a stream."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from pydantic_core import from_json

from edgeinfer.server.anthropic.block_stream import BlockStream
from edgeinfer.server.anthropic.signature import SIGNATURE, hold
from edgeinfer.server.anthropic.types import (
    MessageDelta,
    MessageResponse,
    MessageStart,
    MessageUsage,
    StopDetails,
    StopReason,
    TextContent,
    ThinkingContent,
    ToolUseContent,
    event,
)
from edgeinfer.serving.reply import AnswerDelta, AnswerFinish, CompleteAnswer, Reply

MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class MessageBuilder:
    """Renders one reply."""

    def __init__(self, reply: Reply, *, max_tokens: int, show_thoughts: bool) -> None:
        """Without `show_thoughts`, thinking blocks are empty, and their signature holds the thoughts.

        With a `max_tokens` of 0 the reply, which has one token at the least, is not shown.
        """
        self._reply = reply
        self._max_tokens = max_tokens
        self._show_thoughts = show_thoughts
        self._id = f"msg_{uuid.uuid4().hex}"

    async def build(self) -> MessageResponse:
        """The whole response."""
        (answer,) = await self._reply.collect()
        stop = self._stop(answer.finish)
        content = self._content(answer) if self._max_tokens else []
        return MessageResponse(
            self._id, self._reply.info.name, content, self._usage(), stop.stop_reason, stop.stop_sequence
        )

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events; those of one step together."""
        blocks = BlockStream(show_thoughts=self._show_thoughts)
        finish: AnswerFinish | None = None
        begun = False
        async with aclosing(self._reply.stream()) as deltas:
            async for delta in deltas:
                data = blocks.write(delta.events) if self._max_tokens else b""
                if not begun:
                    begun, data = True, self._start(delta) + data
                if data:
                    yield data
                finish = delta.finish or finish
        assert finish
        yield blocks.close() + event(MessageDelta(self._stop(finish), self._usage())) + MESSAGE_STOP

    def _start(self, delta: AnswerDelta) -> bytes:
        cached, prompt = (delta.start.cached_tokens, delta.start.prompt_tokens) if delta.start else (0, 0)
        usage = MessageUsage(prompt - cached, cached, output_tokens=min(1, self._max_tokens))
        return event(MessageStart(MessageResponse(self._id, self._reply.info.name, [], usage)))

    def _content(self, answer: CompleteAnswer) -> list[TextContent | ThinkingContent | ToolUseContent]:
        content: list[TextContent | ThinkingContent | ToolUseContent] = []
        if thoughts := answer.message.reasoning:
            shown = self._show_thoughts
            content.append(
                ThinkingContent(thoughts, SIGNATURE) if shown else ThinkingContent("", hold(thoughts))
            )
        if answer.message.content:
            content.append(TextContent(answer.message.content))
        content += [
            ToolUseContent(call.id, call.name, _arguments(call.arguments)) for call in answer.message.calls
        ]
        return content

    def _usage(self) -> MessageUsage:
        usage = self._reply.usage
        written = min(usage.completion_tokens, self._max_tokens)
        return MessageUsage(usage.prompt_tokens - usage.cached_tokens, usage.cached_tokens, written)

    def _stop(self, finish: AnswerFinish) -> StopDetails:
        if not self._max_tokens:
            return StopDetails("max_tokens", None)
        return StopDetails(self._stop_reason(finish), finish.stop)

    def _stop_reason(self, finish: AnswerFinish) -> StopReason:
        match finish.reason:
            case "tool_calls":
                return "tool_use"
            case "stop":
                return "end_turn" if finish.stop is None else "stop_sequence"
            case "length":
                cut = self._reply.usage.completion_tokens >= self._max_tokens
                return "max_tokens" if cut else "model_context_window_exceeded"


def _arguments(text: str) -> msgspec.Raw | dict[str, Any]:
    """The arguments of a call, as the model wrote them; of one that was cut, those that are there."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return msgspec.Raw(text.encode())
    except (msgspec.DecodeError, RecursionError):
        return _partial_arguments(text)


def _partial_arguments(text: str) -> dict[str, Any]:
    try:
        arguments = from_json(text, allow_partial="trailing-strings")
    except ValueError:  # there is nothing yet, or it is nested too deeply
        return {}
    return arguments if isinstance(arguments, dict) else {}
