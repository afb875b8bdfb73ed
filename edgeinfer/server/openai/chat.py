"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.chat.events import CallBegin
from edgeinfer.chat.parsed_message import ParsedMessage, coalesce
from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling, reply_grammar
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.inference.output import Delta, Finish
from edgeinfer.inference.structured_output import StructuredOutput, ThinkingBudget
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.http.body import read
from edgeinfer.server.http.respond import respond
from edgeinfer.server.openai.logprobs import chat_logprobs
from edgeinfer.server.openai.message import chat_delta
from edgeinfer.server.openai.response import Answer, Kind
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.server.openai.translate import to_messages, to_tool_choice, to_tools
from edgeinfer.server.openai.types import (
    ChatChoice,
    ChatChunkChoice,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    Choice,
    Function,
    ToolCall,
)
from edgeinfer.server.state import registry_of
from edgeinfer.serving.compiled_format import CompiledFormat
from edgeinfer.serving.merge import Deltas


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    asked = await read(request, ChatRequest)
    return await respond(request, lambda: _begin(request, asked), stream=asked.stream)


async def _begin(request: Request, asked: ChatRequest) -> tuple[ChatAnswer, Deltas]:
    """Check everything, render the prompt, compile the form. Nothing is generated before the deltas are read."""
    model = registry_of(request).get(asked.model)
    caller = principal_of(request.scope).id
    asked.check_stream()
    messages, tools, logprobs, limit = (
        to_messages(asked.messages),
        to_tools(asked.tools or ()),
        asked.wanted_logprobs(),
        asked.limit(),
    )
    choice = to_tool_choice(asked.tool_choice, tools, parallel=asked.parallel_tool_calls)
    asked.check_form(bool(tools))
    info = await model.text_model()
    params = asked.params(info, logprobs, limit)
    thinking = asked.thinking_tokens(info)
    prompt = await model.prompt_builder(info).build(
        messages,
        tools=[tool.definition for tool in tools],
        template_kwargs=asked.chat_template_kwargs,
        thinking=False if thinking == 0 else None,
    )
    calls = ToolCalling(prompt.tool_format, choice) if tools else None
    part = asked.form()
    form = await model.compile(caller, reply_grammar(prompt.reasoning, calls, part))
    budget = _budget(prompt.reasoning, info.ctx if thinking is None and asked.completes() else thinking)
    structured = StructuredOutput(form.grammar, asked.completes(), budget)
    answer = ChatAnswer(asked, info.name, Reply(prompt.reasoning, calls, part, form))
    return answer, model.generate(caller, [prompt.spans], params, asked.n, structured, info=info)


def _budget(reasoning: ReasoningFormat, tokens: int | None) -> ThinkingBudget | None:
    if not tokens or reasoning.state not in ("open", "possible"):
        return None
    tags = reasoning.tags
    return ThinkingBudget(tokens, reasoning.state == "open", tags.open, tags.close, reasoning.closing)


class Reply(NamedTuple):
    """How an answer's text is read: where it thinks, what it calls, and what form the rest must have."""

    reasoning: ReasoningFormat
    calls: ToolCalling | None
    part: GrammarSource | None
    form: CompiledFormat

    def parser(self) -> ReplyParser:
        return ReplyParser(self.reasoning, self.calls)


class ChatAnswer(Answer):
    id_prefix: ClassVar[str] = "chatcmpl"
    whole_kind: ClassVar[Kind] = "chat.completion"
    chunk_kind: ClassVar[Kind] = "chat.completion.chunk"

    def __init__(self, asked: ChatRequest, model: str, reply: Reply) -> None:
        super().__init__(asked, model)
        self._reply = reply
        self._parsers = [reply.parser() for _ in range(asked.n)]
        self._called = [False] * asked.n

    def choice(self, index: int, text: str, finish: Finish) -> Choice:
        said = self._said(text)
        message = ChatMessage(said.content if said.content or not said.calls else None)
        if said.reasoning:
            message.reasoning_content = said.reasoning
        if said.calls:
            message.tool_calls = [
                ToolCall(call.id, Function(call.arguments, call.name)) for call in said.calls
            ]
        return ChatChoice(index, message, self._take(index), _reason(finish, bool(said.calls)))

    def pieces(self, delta: Delta, first: bool) -> list[Choice]:
        found: list[Choice] = []
        index = delta.index
        if first:
            found.append(ChatChunkChoice(index, ChatDelta("assistant", "")))
        parser = self._parsers[index]
        events = parser.feed(delta.text) + (parser.finish() if delta.finish else [])
        found += [ChatChunkChoice(index, chat_delta(event)) for event in coalesce(events)]
        self._called[index] |= any(isinstance(event, CallBegin) for event in events)
        if delta.text or delta.finish:
            logprobs = self._take(index)
            if logprobs and not events:
                found.append(ChatChunkChoice(index, ChatDelta(content=""), logprobs))
            elif logprobs and isinstance(found[-1], ChatChunkChoice):
                found[-1].logprobs = logprobs
        if delta.finish:
            reason = _reason(delta.finish, self._called[index])
            found.append(ChatChunkChoice(index, ChatDelta(), None, reason))
        return found

    async def check(self, text: str) -> None:
        _, calls, part, form = self._reply
        if not form.unenforced:
            return
        said = self._said(text)
        tools = {tool.name: tool for tool in calls.choice.tools} if calls else {}
        for call in said.calls:
            tool = tools[call.name]
            await form.check(tool.parameters, tool.param, call.arguments)
        if part and part.kind == "json_schema" and not said.calls:
            await form.check(part.content, part.param, said.content)

    def _said(self, text: str) -> ParsedMessage:
        parser = self._reply.parser()
        return ParsedMessage(parser.feed(text) + parser.finish())

    def _take(self, index: int) -> ChatLogprobs | None:
        taken = self.take_logprobs(index)
        return chat_logprobs(taken) if taken else None


def _reason(finish: Finish, called: bool) -> str:
    whole = finish.reason == "stop" and finish.stop is None
    return "tool_calls" if called and whole else finish.reason
