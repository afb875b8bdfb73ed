"""OpenAI's response to a chat request whose tools have the form that was there before: `functions`."""

from __future__ import annotations

from msgspec import UNSET

from edgeinfer.server.openai.chat_response import ChatResponseBuilder
from edgeinfer.server.openai.types import ChatChoice, ChatChunkChoice, Choice, Function
from edgeinfer.serving.reply import AnswerDelta, CompleteAnswer


class FunctionResponseBuilder(ChatResponseBuilder):
    """Writes the call of an answer as its `function_call`, without an id. There is one at the most."""

    def choice(self, index: int, answer: CompleteAnswer) -> Choice:
        choice = super().choice(index, answer)
        assert isinstance(choice, ChatChoice)
        message = choice.message
        if message.tool_calls:
            message.function_call = message.tool_calls[0].function
            message.tool_calls = UNSET
        choice.finish_reason = _reason(choice.finish_reason)
        return choice

    def deltas(self, delta: AnswerDelta) -> list[Choice]:
        choices = super().deltas(delta)
        for choice in choices:
            assert isinstance(choice, ChatChunkChoice)
            for call in choice.delta.tool_calls or ():
                choice.delta.function_call = Function(call.function.arguments, call.function.name)
            choice.delta.tool_calls = None
            choice.finish_reason = choice.finish_reason and _reason(choice.finish_reason)
        return choices


def _reason(finish: str) -> str:
    return "function_call" if finish == "tool_calls" else finish
