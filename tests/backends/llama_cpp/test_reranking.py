"""Scores from a worker process, whatever happens to it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ContextLengthExceeded, DecodeFailed, InvalidRequest, ModelReplaced
from edgeinfer.inference.types import Cut, Span
from tests.support.bert import CLS, SEP, WORDS, bert_score, write_bert
from tests.support.llama_client import FAKE, eventually, kill, supervised


@pytest.fixture(scope="module")
def reranker_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    write_bert(path := tmp_path_factory.mktemp("reranker") / "bert.gguf", pooling=None, head=True)
    return path


def config(path: Path) -> LlamaConfig:
    return LlamaConfig(model=str(path), name="bert", ctx=64, batch=64, reranks=True)


def scores(path: Path, query: str, *documents: str) -> list[float]:
    """What numpy computes."""
    ids = [[WORDS.index(f"\u2581{word}") for word in text.split()] for text in (query, *documents)]
    return [bert_score(path, [CLS, *ids[0], SEP, *document]) for document in ids[1:]]


async def test_a_worker_scores_documents(reranker_file: Path) -> None:
    """It says why it cannot, and does nothing else."""
    async with supervised(config(reranker_file)) as client:
        info = await client.ready()
        assert (True, False) == (info.reranks, info.generates)
        found = await client.rerank("the sky", ["is blue", "light"])
        assert scores(reranker_file, "the sky", "is blue", "light") == pytest.approx(found.values, abs=2e-3)
        assert 6 + 5 == found.tokens
        with pytest.raises(ContextLengthExceeded, match="document 3 has 70 tokens") as error:
            await client.rerank("the sky", ["is", "blue " * 70], first=2)
        assert "documents[3]" == error.value.param
        assert 64 == (await client.rerank("the", ["blue " * 70], cut=Cut(to_fit=True))).tokens
        with pytest.raises(InvalidRequest, match="a reranker and cannot embed"):
            await client.embed([[Span("a")]])
        with pytest.raises(ModelReplaced):
            await client.rerank("the", ["sky"], revision="another")


async def test_a_model_that_is_no_reranker_refuses() -> None:
    """The worker checks it too."""
    async with supervised(FAKE) as client:
        with pytest.raises(InvalidRequest, match="no reranker"):
            await client.rerank("a", ["b"])


async def test_what_a_dead_worker_was_to_score_is_scored_by_the_next(reranker_file: Path) -> None:
    """The caller sees nothing but a pause."""
    async with supervised(config(reranker_file)) as client:
        await client.ready()
        kill(client, signal.SIGSTOP)
        asked = [asyncio.create_task(client.rerank("the sky", [text])) for text in ("is blue", "light")]
        await submitted(client, len(asked))
        kill(client)
        found = [value for reply in await asyncio.gather(*asked) for value in reply.values]
        assert scores(reranker_file, "the sky", "is blue", "light") == pytest.approx(found, abs=2e-3)
        assert 1 == client.health.restarts


async def submitted(client: LlamaClient, count: int) -> None:
    """Wait until the worker has been sent so many requests."""
    worker = client.health.ready_worker
    assert worker
    await eventually(lambda: len(worker._exchanges) == count)


async def test_a_document_that_computes_to_no_number_fails_alone(tmp_path: Path) -> None:
    """Requests without it are answered."""
    write_bert(tmp_path / "nan.gguf", pooling=None, head=True, spoiled="\u2581light")
    async with supervised(config(tmp_path / "nan.gguf")) as client:
        before = await client.rerank("the", ["sky"])
        with pytest.raises(DecodeFailed, match="computed no numbers for this document"):
            await client.rerank("the", ["sky", "light"])
        assert before == await client.rerank("the", ["sky"])
        assert 0 == client.health.restarts
