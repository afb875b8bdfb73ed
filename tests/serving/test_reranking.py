"""Reranking requests, against a model that follows a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.chat.message import Message
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest, ModelReplaced
from edgeinfer.inference.types import Cut, Scores
from edgeinfer.serving.chat import ChatCall, start_chat
from edgeinfer.serving.embedding import EmbeddingCall, embed
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.pieces import MAX_PIECE
from edgeinfer.serving.reranking import RerankCall, rerank, share
from edgeinfer.serving.task import tasks
from tests.support.model_handle import ScriptedModel
from tests.support.server import INFO, Scripted, service
from tests.support.templates import bare_model

RERANKER = replace(bare_model(()), generates=False, reranks=True, ctx=64)


def scripted(**changes: Any) -> ScriptedModel:
    return ScriptedModel(info=replace(RERANKER, **changes))


async def test_the_most_relevant_document_is_first() -> None:
    """Those of the same score keep their order."""
    reply = await rerank(scripted(), "me", RerankCall(query="a", documents=["", "aa", "b", "a"]))
    assert [(1, 2.0), (3, 1.0), (0, 0.0), (2, 0.0)] == [(one.index, one.score) for one in reply.ranked]
    assert 4 == reply.tokens
    best = await rerank(scripted(), "me", RerankCall(query="a", documents=["", "aa", "b"], top_n=1))
    assert [1] == [one.index for one in best.ranked]


async def test_scores_become_shares_on_request() -> None:
    """Unless they are shares already."""
    call = RerankCall(query="a", documents=["a", ""], shares=True)
    assert [share(1), 0.5] == [one.score for one in (await rerank(scripted(), "me", call)).ranked]
    ready = await rerank(scripted(score_shares=True), "me", call)
    assert [1, 0] == [one.score for one in ready.ranked]
    assert [0, 0.5, 1] == [share(x) for x in (-1e9, 0, 1e9)]


async def test_far_too_long_texts_are_refused_before_they_are_tokenized() -> None:
    """With the field. Where documents may be cut, only what cannot count is left out."""
    huge = "a" * 100_000
    for call, param in (
        (RerankCall(query=huge, documents=["a"]), "query"),
        (RerankCall(query="a", documents=["a", huge]), "documents[1]"),
    ):
        with pytest.raises(ContextLengthExceeded) as error:
            await rerank(scripted(), "me", call)
        assert param == error.value.param
    reply = await rerank(scripted(), "me", RerankCall(query="a", documents=[huge], cut=Cut(to_fit=True)))
    assert 64 <= reply.ranked[0].score < 100_000


async def test_a_reranker_says_what_it_was_made_for() -> None:
    """And other models say that they are none."""
    model = scripted()
    with pytest.raises(InvalidRequest, match="made to score documents, and cannot make embeddings") as error:
        await embed(model, "me", EmbeddingCall(inputs=["a"]))
    assert "use POST /v1/rerank, or name a model that can" == error.value.hint
    with pytest.raises(InvalidRequest, match="cannot generate text"):
        await start_chat(model, "me", ChatCall(messages=[Message(role="user", content="a")]))
    encoder = scripted(reranks=False)
    with pytest.raises(InvalidRequest, match="made to make embeddings, and cannot score documents") as error:
        await rerank(encoder, "me", RerankCall(query="a", documents=["a"]))
    assert "name a reranker" in (error.value.hint or "")
    assert [("rerank",), ("embed",)] == [tasks(model.info), tasks(encoder.info)]


class Recorder(Scripted):
    """Keeps what it was asked, and can be given another file meanwhile."""

    def __init__(self) -> None:
        super().__init__(info=replace(INFO, generates=False, reranks=True, revision="old"))
        self.asked: list[tuple[int, int]] = []
        self.reload_after = 0

    async def rerank(self, query: str, documents: Any, *, first: int = 0, **options: Any) -> Scores:
        scores = await super().rerank(query, documents, first=first, **options)
        self.asked.append((first, len(documents)))
        if len(self.asked) == self.reload_after:
            self.model = replace(self.model, revision="new")
        return scores


@asynccontextmanager
async def served(engine: Recorder) -> AsyncIterator[ServedModel]:
    state = service(engine)
    yield state.registry.default
    await state.stop()


async def test_the_engine_gets_documents_in_pieces_with_the_query() -> None:
    """A long query makes them smaller, so that no request holds more than a small multiple of a piece."""
    async with served(engine := Recorder()) as model:
        query = "word " * (MAX_PIECE // 3 // 5)
        reply = await rerank(model, "me", RerankCall(query=query, documents=["word", "no"] * 3))
        assert [(0, 2), (2, 2), (4, 2)] == engine.asked
        assert [0, 2, 4, 1, 3, 5] == [one.index for one in reply.ranked]


async def test_documents_are_scored_by_one_model() -> None:
    """Scores of two models cannot be compared."""
    async with served(engine := Recorder()) as model:
        engine.reload_after = 1
        with pytest.raises(ModelReplaced):
            await rerank(model, "me", RerankCall(query="a" * (MAX_PIECE // 5), documents=["a"] * 5))
        assert 1 == len(engine.asked)
