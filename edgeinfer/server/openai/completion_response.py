"""OpenAI's response to a completion request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgeinfer.chat.events import Content
from edgeinfer.inference.output import ChosenLogprob
from edgeinfer.server.openai.logprobs import TextOffsets
from edgeinfer.server.openai.response import Kind, ResponseBuilder
from edgeinfer.server.openai.types import Choice, TextChoice, TextLogprobs
from edgeinfer.serving.completion import CompletionReply
from edgeinfer.serving.reply import AnswerDelta, CompleteAnswer


class CompletionResponseBuilder(ResponseBuilder):
    id_prefix: ClassVar[str] = "cmpl"
    kind: ClassVar[Kind] = "text_completion"
    chunk_kind: ClassVar[Kind] = "text_completion"

    def __init__(self, reply: CompletionReply, *, include_usage: bool, top_logprobs: int) -> None:
        super().__init__(reply, include_usage=include_usage)
        self._echoes = reply.echoes
        self._n = reply.count // len(reply.echoes)
        self._top = top_logprobs
        self._offsets = [TextOffsets() for _ in range(reply.count)]

    def choice(self, index: int, answer: CompleteAnswer) -> Choice:
        text = self._echo(index) + answer.message.content
        return TextChoice(index, text, self._logprobs(index, answer.logprobs), answer.finish.reason)

    def opening(self, index: int) -> list[Choice]:
        echo = self._echo(index)
        return [TextChoice(index, echo)] if echo else []

    def deltas(self, delta: AnswerDelta) -> list[Choice]:
        index = delta.index
        text = "".join(event.text for event in delta.events if isinstance(event, Content))
        if not text and not delta.finish:
            return []
        reason = delta.finish.reason if delta.finish else None
        return [TextChoice(index, text, self._logprobs(index, delta.logprobs), reason)]

    def empty(self, index: int) -> Choice:
        return TextChoice(index, "")

    def _echo(self, index: int) -> str:
        return self._echoes[index // self._n]

    def _logprobs(self, index: int, logprobs: Sequence[ChosenLogprob] | None) -> TextLogprobs | None:
        return self._offsets[index].convert(logprobs, self._top) if logprobs else None
