"""The answers to one request, as events that every API family can render."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, NamedTuple

import msgspec

from edgeinfer.chat.events import CallBegin, Event
from edgeinfer.chat.parsed_message import ParsedMessage, coalesce
from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.inference.merge import Deltas
from edgeinfer.inference.output import ChosenLogprob, Delta, PromptProgress, StartTimings
from edgeinfer.inference.types import ModelInfo
from edgeinfer.serving.compiled_format import CompiledFormat
from edgeinfer.serving.usage import RequestUsage


class AnswerFinish(msgspec.Struct, frozen=True):
    """The end of an answer.

    Attributes:
        reason: "tool_calls" is a complete answer with calls.
        stop: the stop text that was met, None if it was none.
    """

    reason: Literal["stop", "length", "tool_calls"]
    stop: str | None = None


class AnswerDelta(msgspec.Struct, frozen=True):
    """The events that one step added to the answer with this index.

    Attributes:
        logprobs: those of the tokens whose text is in the events, or whose text was empty.
        start: comes with the first delta of the answer.
        finish: comes with the last delta of the answer.
        tokens: the tokens that were generated.
        progress: how much of the prompt has been computed; comes alone, in a request that asks for it.
    """

    index: int
    events: list[Event]
    logprobs: list[ChosenLogprob] | None = None
    finish: AnswerFinish | None = None
    start: StartTimings | None = None
    tokens: list[int] = []
    progress: PromptProgress | None = None


class CompleteAnswer(msgspec.Struct, frozen=True):
    """A whole answer."""

    message: ParsedMessage
    logprobs: list[ChosenLogprob]
    finish: AnswerFinish


class AnswerFormat(NamedTuple):
    """The format that answers are read in and held to.

    Attributes:
        text: the caller's schema or grammar for an answer that calls nothing.
        compiled: the grammar of the whole answer.
    """

    reasoning: ReasoningFormat
    calling: ToolCalling | None
    text: GrammarSource | None
    compiled: CompiledFormat

    async def check(self, message: ParsedMessage) -> None:
        """Check a complete answer. Raises SchemaViolation where it breaks a rule that no grammar enforces."""
        tools = {tool.name: tool for tool in self.calling.choice.tools} if self.calling else {}
        for call in message.calls:
            tool = tools[call.name]
            await self.compiled.check(tool.parameters, tool.param, call.arguments)
        if self.text and self.text.kind == "json_schema" and not message.calls:
            await self.compiled.check(self.text.content, self.text.param, message.content)


class Reply:
    """Generates the answers of one request: read it once, by `stream` or by `collect`.

    Attributes:
        info: the model that answers.
        count: the number of answers; those to prompt p have the indices p * n to p * n + n - 1.
        usage: what the answers that have ended cost.
    """

    def __init__(
        self, info: ModelInfo, deltas: Deltas, answer_format: AnswerFormat, *, prompts: int = 1, n: int = 1
    ) -> None:
        self.info = info
        self.count = prompts * n
        self.usage = RequestUsage(prompts, n)
        self._deltas = deltas
        self._format = answer_format
        self._answers = [_Answer(answer_format) for _ in range(self.count)]

    async def stream(self) -> AsyncGenerator[AnswerDelta, None]:
        """Deltas of all answers as they come; closing this cancels the request.

        Raises:
            SchemaViolation: a complete answer breaks its schema; it is raised before the answer's last delta.
        """
        async with aclosing(self._deltas) as deltas:
            async for delta in deltas:
                if delta.progress:
                    yield AnswerDelta(delta.index, [], progress=delta.progress)
                    continue
                answer_delta = self._answers[delta.index].read(delta)
                if delta.finish:
                    await self._end(delta)
                yield answer_delta

    async def collect(self) -> list[CompleteAnswer]:
        """All answers, in the order of their indices. Raises as `stream`."""
        texts: list[list[str]] = [[] for _ in range(self.count)]
        logprobs: list[list[ChosenLogprob]] = [[] for _ in range(self.count)]
        answers: dict[int, CompleteAnswer] = {}
        async with aclosing(self._deltas) as deltas:
            async for delta in deltas:
                index = delta.index
                texts[index].append(delta.text)
                logprobs[index] += delta.logprobs or ()
                if delta.finish:  # read at once, which is faster than piece by piece
                    whole = msgspec.structs.replace(delta, text="".join(texts[index]), logprobs=None)
                    read = self._answers[index].read(whole)
                    await self._end(delta)
                    assert read.finish
                    message = ParsedMessage(read.events)
                    answers[index] = CompleteAnswer(message, logprobs[index], read.finish)
        return [answers[index] for index in range(self.count)]

    async def _end(self, delta: Delta) -> None:
        """Count the answer that `delta` ends, and check it if it is complete."""
        assert delta.finish
        self.usage.add(delta.index, delta.finish)
        message = self._answers[delta.index].message
        if message is not None and _is_complete(delta):
            await self._format.check(message)


class _Answer:
    """Reads the deltas of one answer.

    Attributes:
        message: its content and calls so far, None where they need no check.
    """

    def __init__(self, answer_format: AnswerFormat) -> None:
        self.message = ParsedMessage() if answer_format.compiled.unenforced else None
        self._parser = ReplyParser(answer_format.reasoning, answer_format.calling)
        self._logprobs: list[ChosenLogprob] = []
        self._calls = False

    def read(self, delta: Delta) -> AnswerDelta:
        events = self._parser.feed(delta.text)
        if delta.finish:
            events += self._parser.finish()
        if len(events) > 1:
            events = coalesce(events)
        if self.message is not None:
            self.message.add(events)
        self._calls = self._calls or any(isinstance(event, CallBegin) for event in events)
        logprobs, finish = self._take_logprobs(delta), self._finish(delta)
        return AnswerDelta(delta.index, events, logprobs, finish, delta.timings, delta.tokens)

    def _take_logprobs(self, delta: Delta) -> list[ChosenLogprob] | None:
        """Those not passed on yet. Tokens may come before the text that they complete."""
        if delta.logprobs:
            self._logprobs += delta.logprobs
        if not (self._logprobs and (delta.text or delta.finish)):
            return None
        logprobs, self._logprobs = self._logprobs, []
        return logprobs

    def _finish(self, delta: Delta) -> AnswerFinish | None:
        if not delta.finish:
            return None
        called = self._calls and _is_complete(delta)
        return AnswerFinish("tool_calls" if called else delta.finish.reason, delta.finish.stop)


def _is_complete(delta: Delta) -> bool:
    """True if the answer ended by itself, and was not cut off."""
    return delta.finish is not None and delta.finish.reason == "stop" and delta.finish.stop is None
