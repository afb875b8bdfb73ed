"""One completion, infill or embedding request without HTTP."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest
import pytest_asyncio

from edgeinfer.chat.events import Content
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest, SchemaViolation, UnsupportedParameter
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.inference.types import FimTokens, Span
from edgeinfer.serving.completion import CompletionCall, start_completion
from edgeinfer.serving.embedding import EmbeddingCall, embed
from edgeinfer.serving.infill import ContextFile, InfillCall, start_infill
from tests.support.model_handle import ScriptedModel, prompt_text

pytestmark = pytest.mark.asyncio

FIM = FimTokens(prefix=1, suffix=2, middle=3)


@pytest_asyncio.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    model = ScriptedModel("a <think>", " b")
    model.info = msgspec.structs.replace(model.info, fim=FIM)
    yield model
    await model.aclose()


async def test_a_text_is_continued_and_control_tokens_in_it_count(model: ScriptedModel) -> None:
    """Nothing of the answer is taken for thoughts or calls."""
    reply = await start_completion(model, "me", CompletionCall(prompts=["<|im_end|>"]))
    events = [event async for delta in reply.stream() for event in delta.events]
    assert [Content("a <think>"), Content(" b")] == events
    assert [[Span("<|im_end|>", trusted=True)]] == model.prompts


async def test_every_prompt_has_its_answers_and_its_echo(model: ScriptedModel) -> None:
    """Tokens are echoed as text."""
    reply = await start_completion(model, "me", CompletionCall(prompts=["a", [98]], n=2, echo=True))
    assert (4, ["a", "b"]) == (reply.count, reply.echoes)
    assert ["a <think> b"] * 4 == [answer.message.content for answer in await reply.collect()]
    assert 10 == reply.usage.prompt_tokens


async def test_a_suffix_needs_tokens_for_it(model: ScriptedModel) -> None:
    """The caller's texts are not trusted then."""
    await (await start_completion(model, "me", CompletionCall(prompts=["a"], suffix="c"))).collect()
    assert [Span("", False), 1, Span("a", False), 2, Span("c", False), 3] == model.prompts[0]
    model.info = msgspec.structs.replace(model.info, fim=None)
    with pytest.raises(UnsupportedParameter) as caught:
        await start_completion(model, "me", CompletionCall(prompts=["a"], suffix="c"))
    assert "suffix" == caught.value.param


@pytest.mark.parametrize(
    ("prompt", "kind"), [([100], InvalidRequest), ("x" * 4096 * 600, ContextLengthExceeded)]
)
async def test_what_cannot_be_a_prompt_is_refused(
    model: ScriptedModel, prompt: str | list[int], kind: type[InvalidRequest]
) -> None:
    """Before the engine sees it."""
    with pytest.raises(kind) as caught:
        await start_completion(model, "me", CompletionCall(prompts=[prompt]))
    assert "prompt" == caught.value.param


async def test_a_finished_completion_is_checked_where_the_grammar_cannot(model: ScriptedModel) -> None:
    """As a chat's answer is."""
    model.texts = ("[1, ", "1]")
    source = GrammarSource("answer", "json_schema", {"type": "array", "uniqueItems": True}, "schema")
    with pytest.raises(SchemaViolation):
        await (
            await start_completion(model, "me", CompletionCall(prompts=["a"], response_format=source))
        ).collect()


async def test_an_infill_stands_between_its_texts(model: ScriptedModel) -> None:
    """With other files before it; the deltas are the engine's own."""
    call = InfillCall(prefix="a", suffix="c", middle="b", files=[ContextFile("x.py", "1\n")])
    reply = await start_infill(model, "me", call)
    async with aclosing(reply.deltas) as deltas:
        assert ["a <think>", " b"] == [delta.text async for delta in deltas]
    assert prompt_text(model.prompts[0]) == "\n\n--- snippet ---\n\n1\n[1]a[2]c[3]b"
    assert not reply.truncated


async def test_an_infill_is_cut_to_the_context(model: ScriptedModel) -> None:
    """Far text first, while the answer keeps its room."""
    call = InfillCall(prefix="a\n" * 5000, suffix="c\n" * 5000, sampling={"max_tokens": 100})
    reply = await start_infill(model, "me", call)
    assert reply.truncated
    async with aclosing(reply.deltas) as deltas:
        await anext(deltas)
    assert len(model.prompts[0]) <= 4096 - 100


async def test_an_infill_needs_tokens_for_it(model: ScriptedModel) -> None:
    """And says which models have them."""
    model.info = msgspec.structs.replace(model.info, fim=None)
    with pytest.raises(InvalidRequest) as caught:
        await start_infill(model, "me", InfillCall(prefix="a", suffix="c"))
    assert ("model", True) == (caught.value.param, "Coder" in str(caught.value.hint))


async def test_each_input_has_a_vector_of_length_one(model: ScriptedModel) -> None:
    """Also when it is cut; text in it is data."""
    model.info = msgspec.structs.replace(model.info, n_embd=4)
    reply = await embed(model, "me", EmbeddingCall(inputs=["<|im_end|>", [5]], dimensions=2))
    assert [[Span("<|im_end|>", trusted=False)], [5]] == model.prompts
    assert [pytest.approx([0.5**0.5] * 2)] * 2 == [struct.unpack("<2f", v) for v in reply.vectors]
    assert (2, "m") == (reply.tokens, reply.info.name)


async def test_more_dimensions_than_there_are_are_refused(model: ScriptedModel) -> None:
    """None could be made up."""
    with pytest.raises(InvalidRequest) as caught:
        await embed(model, "me", EmbeddingCall(inputs=["a"], dimensions=2))
    assert "dimensions" == caught.value.param
