"""What was prepared for one model is never computed by another that has been loaded meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from edgeinfer.chat.message import Message
from edgeinfer.errors import ModelReplaced
from edgeinfer.inference.types import Embeddings, FimTokens, Prompt, Span, Tokens
from edgeinfer.serving.chat import ChatCall, start_chat
from edgeinfer.serving.completion import CompletionCall, start_completion
from edgeinfer.serving.embedding import EmbeddingCall, embed
from edgeinfer.serving.infill import InfillCall, start_infill
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.pieces import MAX_PIECE
from tests.support.server import INFO, Scripted, service


class Reloaded(Scripted):
    """Has another file from the `at`-th call on, once `armed`."""

    def __init__(self) -> None:
        super().__init__("Hel", "lo", info=replace(INFO, revision="old", fim=FimTokens(1, 2, 3)))
        self.calls = 0
        self.reload_before: int | None = None
        self.computed: list[str] = []

    def reload(self) -> None:
        self.model = replace(self.model, revision="new")

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.reload_before:
            self.reload()

    async def embed(
        self, inputs: list[Prompt], *, revision: str | None = None, caller: str = ""
    ) -> Embeddings:
        self._count()
        embeddings = await super().embed(inputs, revision=revision, caller=caller)
        self.computed.append(self.model.revision)
        return embeddings

    async def tokenize(
        self, prompt: list[Span], *, add_bos: bool = False, revision: str | None = None, caller: str = ""
    ) -> Tokens:
        self._count()
        return await super().tokenize(prompt, add_bos=add_bos, revision=revision, caller=caller)

    async def detokenize(
        self, tokens: Sequence[int], *, revision: str | None = None, caller: str = ""
    ) -> str:
        self._count()
        return await super().detokenize(tokens, revision=revision, caller=caller)


@asynccontextmanager
async def served(engine: Reloaded) -> AsyncIterator[ServedModel]:
    state = service(engine)
    yield state.registry.default
    await state.stop()


@pytest.mark.parametrize("kind", ["chat", "completion", "infill"])
async def test_prompt_that_waits_during_a_reload_is_refused(kind: str) -> None:
    """Its control tokens may be plain text to the other model, or the other way round."""
    engine = Reloaded()
    async with served(engine) as model:
        if kind == "chat":
            call = ChatCall(messages=[Message(role="user", content="Hi")])
            answer: Awaitable[object] = (await start_chat(model, "me", call)).collect()
        elif kind == "completion":
            answer = (await start_completion(model, "me", CompletionCall(prompts=["a"]))).collect()
        else:
            answer = anext((await start_infill(model, "me", InfillCall(prefix="a", suffix="b"))).deltas)
        engine.reload()
        with pytest.raises(ModelReplaced):
            await answer
        assert [] == engine.requests


async def test_inputs_of_one_embedding_request_are_embedded_by_one_model() -> None:
    """A reload between two pieces of them fails the request: vectors of two models cannot be compared."""
    engine = Reloaded()
    engine.reload_before = 2
    async with served(engine) as model:
        inputs = ["x" * (MAX_PIECE // 2 + 1)] * 3
        with pytest.raises(ModelReplaced):
            await embed(model, "me", EmbeddingCall(inputs=inputs))
        assert ["old"] == engine.computed
        await embed(model, "me", EmbeddingCall(inputs=inputs))
        assert ["old", "new", "new", "new"] == engine.computed


async def test_tokens_that_are_echoed_are_those_of_the_model_that_answers() -> None:
    """A reload between two of the prompts fails the request."""
    engine = Reloaded()
    engine.reload_before = 2
    async with served(engine) as model:
        with pytest.raises(ModelReplaced):
            await start_completion(model, "me", CompletionCall(prompts=[[65], [66]], echo=True))


async def test_parts_of_an_infill_are_tokenized_by_one_model() -> None:
    """Prefix and suffix have the tokens of the model that fills the gap."""
    engine = Reloaded()
    engine.reload_before = 2
    async with served(engine) as model:
        with pytest.raises(ModelReplaced):
            await start_infill(model, "me", InfillCall(prefix="a" * 9000, suffix="b" * 9000))
