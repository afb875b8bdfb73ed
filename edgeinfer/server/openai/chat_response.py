"""OpenAI's response to a chat request."""

from __future__ import annotations

from typing import ClassVar

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning
from edgeinfer.server.openai.logprobs import chat_logprobs
from edgeinfer.server.openai.response import Kind, ResponseBuilder
from edgeinfer.server.openai.types import (
    ChatChoice,
    ChatChunkChoice,
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    ChatToolCallDelta,
    Choice,
    Function,
)
from edgeinfer.serving.reply import AnswerDelta, CompleteAnswer


class ChatResponseBuilder(ResponseBuilder):
    id_prefix: ClassVar[str] = "chatcmpl"
    kind: ClassVar[Kind] = "chat.completion"
    chunk_kind: ClassVar[Kind] = "chat.completion.chunk"

    def choice(self, index: int, answer: CompleteAnswer) -> Choice:
        content, calls = answer.message.content, answer.message.calls
        message = ChatMessage(content if content or not calls else None)
        if reasoning := answer.message.reasoning:
            message.reasoning_content = reasoning
        if calls:
            message.tool_calls = [
                ChatToolCall(call.id, Function(call.arguments, call.name)) for call in calls
            ]
        logprobs = chat_logprobs(answer.logprobs) if answer.logprobs else None
        return ChatChoice(index, message, logprobs, answer.finish.reason)

    def opening(self, index: int) -> list[Choice]:
        return [ChatChunkChoice(index, ChatDelta("assistant", ""))]

    def deltas(self, delta: AnswerDelta) -> list[Choice]:
        index = delta.index
        choices = [ChatChunkChoice(index, chat_delta(event)) for event in delta.events]
        if delta.logprobs:
            if not delta.events:
                choices.append(ChatChunkChoice(index, ChatDelta(content="")))
            choices[-1].logprobs = chat_logprobs(delta.logprobs)
        if delta.finish:
            choices.append(ChatChunkChoice(index, ChatDelta(), None, delta.finish.reason))
        return [*choices]

    def empty(self, index: int) -> Choice:
        return ChatChunkChoice(index, ChatDelta("assistant"))


def chat_delta(event: Event) -> ChatDelta:
    """The delta of a chunk for one event."""
    match event:
        case Content():
            return ChatDelta(content=event.text)
        case Reasoning():
            return ChatDelta(reasoning_content=event.text)
        case CallBegin():
            call = ChatToolCallDelta(event.index, Function("", event.name), event.id, "function")
        case CallArguments():
            call = ChatToolCallDelta(event.index, Function(event.text))
    return ChatDelta(tool_calls=[call])
