"""One chat request without HTTP: a call in, a reply of events out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Reasoning
from edgeinfer.chat.message import Message
from edgeinfer.chat.tools.tool import choose, function_tool
from edgeinfer.errors import InvalidRequest, SchemaViolation
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.inference.structured_output import ThinkingBudget
from edgeinfer.serving.chat import ChatCall, start_chat
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.reply import AnswerDelta, AnswerFinish, Reply
from tests.support.model_handle import CHATML_TOKENS, ScriptedModel, logprob, prompt_text, with_finish
from tests.support.templates import bare_model

pytestmark = pytest.mark.asyncio

HI = [Message(role="user", content="Hi")]
TIME = function_tool({"name": "get_time", "parameters": {"properties": {"zone": {}}}}, where="tools[0]")
CALL = ('<tool_call>\n{"name": "', 'get_time", "arguments": {"zone"', ': "UTC"}', "}\n</tool_call>")
THINKING = "{{ messages[0].content }}<think>\n{# </think> #}"
PAIR = GrammarSource("answer", "json_schema", {"type": "array", "uniqueItems": True}, "output_schema")


@pytest_asyncio.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    model = ScriptedModel("Hel", "lo")
    yield model
    await model.aclose()


def thinking(model: ScriptedModel) -> ScriptedModel:
    model.info = bare_model(CHATML_TOKENS, {"default": THINKING})
    return model


async def deltas_of(reply: Reply) -> list[AnswerDelta]:
    return [delta async for delta in reply.stream()]


async def test_a_call_needs_nothing_but_messages(model: ScriptedModel) -> None:
    """Its reply is the model's name, events as they come, the end, and what it cost."""
    handle: ModelHandle = model
    reply = await start_chat(handle, "me", ChatCall(messages=HI))
    assert (1, "m") == (reply.count, reply.info.name)
    assert [
        AnswerDelta(0, [Content("Hel")], tokens=[0]),
        AnswerDelta(0, [Content("lo")], None, AnswerFinish("stop"), tokens=[1]),
    ] == await deltas_of(reply)
    assert (5, 1, 2) == (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.completion_tokens)
    assert "<|im_start|>user\nHi<|im_end|>" in prompt_text(model.prompts[0])
    assert {"me"} == set(model.callers)


async def test_nothing_is_generated_before_the_reply_is_read(model: ScriptedModel) -> None:
    """And closing it ends what was begun."""
    reply = await start_chat(model, "me", ChatCall(messages=HI))
    assert not hasattr(model, "prompts")
    async with aclosing(reply.stream()) as deltas:
        await anext(deltas)
    assert 1 == model.closed


async def test_a_whole_reply_has_whole_messages(model: ScriptedModel) -> None:
    """In the order of their indices, with all log-probabilities."""
    call = ChatCall(messages=HI, n=2, sampling={"logprobs": 0})
    answers = await (await start_chat(model, "me", call)).collect()
    assert ["Hello"] * 2 == [answer.message.content for answer in answers]
    assert [logprob("Hel"), logprob("lo")] == answers[1].logprobs
    assert AnswerFinish("stop") == answers[0].finish


async def test_a_tool_call_is_a_beginning_and_its_arguments(model: ScriptedModel) -> None:
    """Names and ids first; the reason says that it was called."""
    model.texts = CALL
    call = ChatCall(messages=HI, tools=[TIME], tool_choice=choose([TIME]))
    deltas = await deltas_of(await start_chat(model, "me", call))
    begin, *arguments = (event for delta in deltas for event in delta.events)
    assert isinstance(begin, CallBegin)
    assert ("get_time", 0) == (begin.name, begin.index)
    assert all(isinstance(event, CallArguments) for event in arguments)
    assert {"zone": "UTC"} == json.loads("".join(event.text for event in arguments))  # type: ignore[union-attr]
    assert deltas[-1].finish == AnswerFinish("tool_calls")
    assert model.structured.grammar
    assert '{"type": "function", "function": {"name": "get_time"' not in prompt_text(model.prompts[0])
    assert '"name": "get_time"' in prompt_text(model.prompts[0])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reason": "length"}, AnswerFinish("length")),
        ({"stop": "END"}, AnswerFinish("stop", "END")),
    ],
)
async def test_a_cut_call_is_not_a_reason(model: ScriptedModel, changes: Any, expected: AnswerFinish) -> None:
    """Clients would run it."""
    model.texts = CALL[:2]
    with_finish(model, **changes)
    call = ChatCall(messages=HI, tools=[TIME], tool_choice=choose([TIME]))
    assert expected == (await deltas_of(await start_chat(model, "me", call)))[-1].finish


async def test_thoughts_are_events_of_their_own(model: ScriptedModel) -> None:
    """However the text is cut."""
    thinking(model).texts = ("Hm", ".\n</th", "ink>\n\nFour")
    deltas = await deltas_of(await start_chat(model, "me", ChatCall(messages=HI)))
    events = [event for delta in deltas for event in delta.events]
    assert [Reasoning("Hm"), Reasoning("."), Content("Four")] == events


@pytest.mark.parametrize(("limit", "tokens"), [(9, 9), ("low", 4096 // 8), ("high", 4096 // 2), (None, None)])
async def test_thinking_has_a_limit_in_tokens_or_an_effort(
    model: ScriptedModel, limit: Any, tokens: int | None
) -> None:
    """An effort is a share of the context."""
    thinking(model)
    await deltas_of(await start_chat(model, "me", ChatCall(messages=HI, thinking=limit)))
    budget = ThinkingBudget(tokens or 0, True, "<think>", "</think>", "\n</think>\n\n")
    assert (budget if tokens else None) == model.structured.thinking


async def test_thinking_is_turned_off_in_the_prompt(model: ScriptedModel) -> None:
    """By a limit of 0."""
    await deltas_of(await start_chat(thinking(model), "me", ChatCall(messages=HI, thinking=0)))
    assert prompt_text(model.prompts[0]).endswith("</think>\n\n")


async def test_sampling_is_the_request_s_then_the_model_s_then_ours(model: ScriptedModel) -> None:
    """By SamplingParams' own names."""
    model.info = msgspec.structs.replace(model.info, sampling={"top_k": 7.0, "min_p": 0.3, "unknown": 1.0})
    await deltas_of(await start_chat(model, "me", ChatCall(messages=HI, sampling={"min_p": 0.1})))
    assert (0.1, 7, 0.95) == (model.params.min_p, model.params.top_k, model.params.top_p)


@pytest.mark.parametrize(
    "call",
    [
        ChatCall(messages=[]),
        ChatCall(messages=HI, sampling={"logit_bias": {100: 1.0}}),
        ChatCall(messages=HI, template_kwargs={"messages": []}),
        ChatCall(messages=HI, response_format=GrammarSource("answer", "regex", "(", "pattern")),
    ],
)
async def test_what_cannot_be_answered_is_refused_before_anything_is_generated(
    model: ScriptedModel, call: ChatCall
) -> None:
    """With the family's own name of the field, where it gave one."""
    with pytest.raises(InvalidRequest):
        await start_chat(model, "me", call)
    assert 0 == model.closed


async def test_a_model_that_only_embeds_cannot_chat(model: ScriptedModel) -> None:
    """The handle says so."""
    model.info = msgspec.structs.replace(model.info, generates=False)
    with pytest.raises(InvalidRequest):
        await start_chat(model, "me", ChatCall(messages=HI))


async def test_a_finished_answer_is_checked_where_the_grammar_cannot(model: ScriptedModel) -> None:
    """The error names the family's field."""
    model.texts = ("[1, ", "1]")
    reply = await start_chat(model, "me", ChatCall(messages=HI, response_format=PAIR))
    with pytest.raises(SchemaViolation) as caught:
        await reply.collect()
    assert "output_schema" == caught.value.param


async def test_an_answer_that_fails_its_check_does_not_end(model: ScriptedModel) -> None:
    """The error comes in place of its last delta."""
    model.texts = ("[1, ", "1]")
    reply = await start_chat(model, "me", ChatCall(messages=HI, response_format=PAIR))
    async with aclosing(reply.stream()) as deltas:
        assert [Content("[1, ")] == (await anext(deltas)).events
        with pytest.raises(SchemaViolation):
            await anext(deltas)


@pytest.mark.parametrize("changes", [{"reason": "length"}, {"stop": "END"}])
async def test_a_cut_answer_is_not_checked(model: ScriptedModel, changes: Any) -> None:
    """It is not held to be complete."""
    model.texts = ("[1, ", "1]")
    with_finish(model, **changes)
    reply = await start_chat(model, "me", ChatCall(messages=HI, response_format=PAIR))
    assert "[1, 1]" == (await reply.collect())[0].message.content


async def test_arguments_are_checked_where_the_grammar_cannot(model: ScriptedModel) -> None:
    """As answers are."""
    schema = {"properties": {"ids": PAIR.content}, "required": ["ids"]}
    tool = function_tool({"name": "f", "parameters": schema}, where="tools.0", schema="input_schema")
    model.texts = ('<tool_call>\n{"name": "f", "arguments": {"ids": [1, 1]}}\n</tool_call>',)
    call = ChatCall(messages=HI, tools=[tool], tool_choice=choose([tool]))
    with pytest.raises(SchemaViolation) as caught:
        await (await start_chat(model, "me", call)).collect()
    assert str(caught.value.param).startswith("tools.0.input_schema")
