"""One chat request, whichever API family it came from: a call in, a reply of events out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from edgeinfer.chat.message import Message
from edgeinfer.chat.prompt import ChatPrompt
from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.reply import ToolCalling, reply_grammar
from edgeinfer.chat.tools.tool import Tool, ToolChoice
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.inference.structured_output import StructuredOutput, ThinkingBudget
from edgeinfer.inference.types import ModelInfo
from edgeinfer.serving.answer_size import check_answer_size
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.inputs import check_num_ctx
from edgeinfer.serving.reply import AnswerFormat, Reply
from edgeinfer.serving.sampling import resolve_sampling
from edgeinfer.serving.truncation import longest_fitting, prompt_room

Effort = Literal["minimal", "low", "medium", "high"]

CONTEXT_SHARES: Mapping[Effort, int] = {"minimal": 32, "low": 8, "medium": 4, "high": 2}
"""Effort -> n, where thoughts may take up to 1/n of the context."""


class ChatCall(msgspec.Struct, frozen=True, kw_only=True):
    """A chat request.

    Attributes:
        tools: those in the prompt.
        tool_choice: those that may be called.
        response_format: the form of an answer that calls nothing.
        complete: lead an answer to a valid end within its token limit instead of cutting it.
        sampling: the values that the request has, by the names of SamplingParams.
        n: answers to generate.
        thinking: tokens that an answer may think, or an effort; 0 means none, None means no limit.
        template_kwargs: variables for the model's template.
        num_ctx: tokens of context that the caller counts on.
        truncate: leave out the oldest messages where the context has no room for all.
    """

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice = ToolChoice()
    response_format: GrammarSource | None = None
    complete: bool = False
    sampling: Mapping[str, Any] = {}
    n: int = 1
    thinking: int | Effort | None = None
    template_kwargs: Mapping[str, Any] = {}
    num_ctx: int | None = None
    truncate: bool = False


async def start_chat(model: ModelHandle, caller: Hashable, call: ChatCall) -> Reply:
    """Check the call, render its prompt and compile its grammar. The model generates once the reply is read.

    Raises:
        InvalidRequest: the call cannot be answered; its subclasses say why.
        EdgeinferError: the model cannot be loaded, or is too busy.
    """
    info = await model.text_model()
    check_num_ctx(call.num_ctx, info)
    limit = _thinking_limit(call.thinking, info.ctx)
    prompt = await (_truncated if call.truncate else _prompt)(model, caller, call, info)
    thinks = prompt.reasoning.state in ("open", "possible")
    params = resolve_sampling(call.sampling, info, model.recommended_sampling(thinks=thinks))
    check_answer_size(params, call.n, info)
    tool_format = prompt.tool_format
    calling = ToolCalling(tool_format, call.tool_choice) if call.tools or tool_format.lead else None
    enforced = calling if call.tools or call.response_format else None
    grammar = reply_grammar(prompt.reasoning, enforced, call.response_format)
    compiled = await model.compile(caller, grammar)
    budget = _budget(prompt.reasoning, info.ctx if limit is None and call.complete else limit)
    structured = StructuredOutput(compiled.grammar, call.complete, budget)
    deltas = model.generate(caller, [prompt.spans], params, call.n, structured, info=info)
    answer_format = AnswerFormat(prompt.reasoning, calling, call.response_format, compiled)
    return Reply(info, deltas, answer_format, n=call.n)


async def count_prompt_tokens(model: ModelHandle, caller: Hashable, call: ChatCall) -> int:
    """The number of tokens that the call's prompt has.

    Raises:
        InvalidRequest: the prompt cannot be made; its subclasses say why.
        EdgeinferError: the model cannot be loaded, or is too busy.
    """
    info = await model.text_model()
    prompt = await _prompt(model, caller, call, info)
    return await _count_tokens(model, caller, prompt, info)


async def _truncated(model: ModelHandle, caller: Hashable, call: ChatCall, info: ModelInfo) -> ChatPrompt:
    """The prompt of the conversation, or of as much of its end as the context has room for."""
    room = prompt_room(info.ctx, call.sampling.get("max_tokens"))

    async def attempt(messages: Sequence[Message]) -> tuple[ChatPrompt, bool]:
        shorter = msgspec.structs.replace(call, messages=messages)
        prompt = await _prompt(model, caller, shorter, info)
        return prompt, await _fits(model, caller, prompt, info, room)

    return await longest_fitting(call.messages, attempt)


async def _fits(model: ModelHandle, caller: Hashable, prompt: ChatPrompt, info: ModelInfo, room: int) -> bool:
    size = sum(len(span.text.encode("utf-8", "surrogatepass")) for span in prompt.spans)
    return (
        size < room or await _count_tokens(model, caller, prompt, info) <= room
    )  # a token has a byte at least


async def _count_tokens(model: ModelHandle, caller: Hashable, prompt: ChatPrompt, info: ModelInfo) -> int:
    async with model.short_jobs.take(caller):
        return len((await model.tokenize(caller, prompt.spans, add_bos=True, info=info)).ids)


async def _prompt(model: ModelHandle, caller: Hashable, call: ChatCall, info: ModelInfo) -> ChatPrompt:
    async with model.renderings.take(caller):
        return await model.prompt_builder(info).build(
            call.messages,
            tools=[tool.definition for tool in call.tools],
            template_kwargs=call.template_kwargs,
            thinking=False if _thinking_limit(call.thinking, info.ctx) == 0 else None,
        )


def _thinking_limit(thinking: int | Effort | None, ctx: int) -> int | None:
    return ctx // CONTEXT_SHARES[thinking] if isinstance(thinking, str) else thinking


def _budget(reasoning: ReasoningFormat, tokens: int | None) -> ThinkingBudget | None:
    if not tokens or reasoning.state not in ("open", "possible"):
        return None
    tags = reasoning.tags
    return ThinkingBudget(tokens, reasoning.state == "open", tags.open, tags.close, reasoning.closing)
