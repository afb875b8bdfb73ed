"""POST /rerank and its other paths: against a model that follows a script, and against a real reranker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.server.llama_server.family import RERANK_PATHS
from edgeinfer.serving.reranking import share
from tests.support.bert import CLS, SEP, WORDS, bert_score, write_bert
from tests.support.server import INFO, Scripted, Served, error, serving

RERANKER = replace(INFO, generates=False, reranks=True, ctx=512)
DOCUMENTS = ["a city", "a panda is a bear", "a panda"]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted(info=RERANKER)) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def reranker_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    write_bert(path := tmp_path_factory.mktemp("reranker") / "bert.gguf", pooling=None, head=True)
    return path


@pytest.fixture(scope="module")
def real(reranker_file: Path) -> Iterator[Served]:
    config = LlamaConfig(model=str(reranker_file), name="bert", ctx=64, batch=64, reranks=True)
    with serving(LlamaClient(config)) as daemon:
        yield daemon


def rerank(served: Served, path: str = "/v1/rerank", /, **fields: Any) -> httpx.Response:
    return served.client.post(path, json=fields)


@pytest.mark.parametrize("path", RERANK_PATHS)
def test_all_paths_answer_alike(served: Served, path: str) -> None:
    """The fields are those that Open WebUI, and the clients of Jina and Cohere, read."""
    body = rerank(served, path, query="panda bear", documents=DOCUMENTS, top_n=2, model="scripted").json()
    assert body == {
        "model": "scripted",
        "object": "list",
        "usage": {"prompt_tokens": 60, "total_tokens": 60},
        "results": [{"index": 1, "relevance_score": 1.0}, {"index": 2, "relevance_score": 0.5}],
    }


def test_documents_come_back_on_request(served: Served) -> None:
    """They may be objects with a text."""
    documents = [{"text": "a", "title": "A"}, "panda"]
    body = rerank(served, query="panda", documents=documents, return_documents=True).json()
    assert [{"text": "panda"}, {"text": "a"}] == [result["document"] for result in body["results"]]


def test_texts_are_answered_in_teis_form(served: Served) -> None:
    """With as many of them as there are, unless `top_n` says otherwise."""
    fields: dict[str, Any] = {"query": "panda", "texts": ["b", "panda"], "truncate": True}
    assert [{"index": 1, "score": 1.0}, {"index": 0, "score": 0.0}] == rerank(
        served, "/rerank", **fields
    ).json()
    body = rerank(served, "/rerank", **fields, return_text=True, raw_scores=False, top_n=1).json()
    assert [{"index": 1, "score": share(1), "text": "panda"}] == body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "", "documents": ["a"]}, "query"),
        ({"query": "a"}, "documents"),
        ({"query": "a", "documents": []}, "documents"),
        ({"query": "a", "documents": "a"}, "documents"),
        ({"query": "a", "documents": ["a"] * 1025}, "documents"),
        ({"query": "a", "documents": ["a", 5]}, "documents[1]"),
        ({"query": "a", "documents": ["a", {"image": "x"}]}, "documents[1].text"),
        ({"query": "a", "documents": ["a"], "texts": ["a"]}, "documents"),
        ({"query": "a", "texts": ["a", "b" * 300_000]}, "texts[1]"),
        ({"query": "a", "texts": []}, "texts"),
        ({"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
        ({"query": "a", "documents": ["a"], "max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ({"query": "a", "documents": ["a"], "max_chunks_per_doc": 3}, "max_chunks_per_doc"),
        ({"query": "a", "documents": ["a"], "rank_fields": ["title"]}, "rank_fields"),
    ],
)
def test_errors_name_the_field(served: Served, fields: dict[str, Any], param: str) -> None:
    """In the names of the form that the request has."""
    assert (param, 400) == (error(response := rerank(served, **fields))["param"], response.status_code)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/infill"])
def test_a_reranker_refuses_everything_else(served: Served, path: str) -> None:
    """And says what it is for."""
    body = {
        "messages": [{"role": "user", "content": "a"}],
        "prompt": "a",
        "input": "a",
        "input_prefix": "a",
        "input_suffix": "a",
    }
    wanted = {
        "/v1/embeddings": ["input"],
        "/v1/chat/completions": ["messages"],
        "/v1/completions": ["prompt"],
    }
    keys = wanted.get(path, ["input_prefix", "input_suffix"])
    fault = error(served.client.post(path, json={key: body[key] for key in keys}))
    assert "scripted was made to score documents, and cannot" in fault["message"]
    assert "use POST /v1/rerank" in fault["message"]
    assert "model" == fault["param"]


def test_a_model_that_is_no_reranker_says_so() -> None:
    """With what to do."""
    with serving(Scripted()) as daemon:
        fault = error(rerank(daemon, query="a", documents=["a"]))
    assert "cannot score documents" in fault["message"]
    assert "name a reranker" in fault["message"]


def test_scores_are_the_networks(real: Served, reranker_file: Path) -> None:
    """Through all of the daemon, from a real worker."""
    texts = ["sky is blue", "light", "is light blue"]
    body = rerank(real, query="the sky", documents=texts).json()
    pairs = [[CLS, *ids("the sky"), SEP, *ids(text)] for text in texts]
    scores = {result["index"]: result["relevance_score"] for result in body["results"]}
    assert [bert_score(reranker_file, pair) for pair in pairs] == pytest.approx(
        [scores[i] for i in range(3)], abs=2e-3
    )
    assert sorted(scores.values(), reverse=True) == list(scores.values())
    assert sum(map(len, pairs)) == body["usage"]["total_tokens"]


def test_a_document_that_is_too_long_is_refused_or_cut(real: Served) -> None:
    """The error has the counts; what is cut is what its beginning would be."""
    long = "blue " * 100
    fault = error(rerank(real, query="the sky", documents=["light", long]))
    assert "document 1 has 100 tokens, and 104 with the query" in fault["message"]
    assert ("documents[1]", "context_length_exceeded") == (fault["param"], fault["reason"])
    assert "texts[1]" == error(rerank(real, query="the sky", texts=["light", long]))["param"]
    cut = rerank(real, query="the sky", documents=[long], truncate=True).json()
    assert 64 == cut["usage"]["total_tokens"]
    assert cut["results"] == rerank(real, query="the sky", documents=["blue " * 60]).json()["results"]
    short = rerank(real, query="the sky", documents=[long], max_tokens_per_doc=2).json()
    assert short["results"] == rerank(real, query="the sky", documents=["blue blue"]).json()["results"]


def test_a_reranker_says_that_it_is_one(real: Served) -> None:
    """Where models are listed."""
    assert ["rerank"] == real.client.get("/v1/models/bert").json()["capabilities"]


def test_a_real_reranker_neither_embeds_nor_generates(real: Served) -> None:
    """It is open for scores only."""
    for path, fields in (("/v1/embeddings", {"input": "a"}), ("/v1/completions", {"prompt": "a"})):
        response = real.client.post(path, json=fields)
        assert 400 == response.status_code
        assert "use POST /v1/rerank" in error(response)["message"]


def ids(text: str) -> list[int]:
    return [WORDS.index(f"▁{word}") for word in text.split()]
