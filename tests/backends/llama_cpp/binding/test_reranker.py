from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import pytest

from edgeinfer.backends.llama_cpp.binding.reranker import DecoderReranker
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.worker.runtime import Runtime, open_runtime
from edgeinfer.errors import ContextLengthExceeded, ModelLoadFailed
from edgeinfer.gguf.header import read_header
from edgeinfer.inference.types import Cut
from tests.support.bert import CLS, SEP, WORDS, bert_score, write_bert
from tests.support.jina_reranker import END, START, write_jina_reranker
from tests.support.qwen3_reranker import CONTROLS, TEMPLATE, qwen3_score, write_qwen3_reranker

QUERY, DOCUMENTS = "the sky", ["the sky is blue", "light", "the sky is blue blue light", ""]


@pytest.fixture(scope="module")
def bert_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "reranker.gguf"
    write_bert(path, pooling=None, head=True)
    return path


@pytest.fixture(scope="module")
def qwen3_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qwen3") / "reranker.gguf"
    write_qwen3_reranker(path)
    return path


@contextmanager
def opened(path: Path, ctx: int = 512) -> Iterator[Runtime]:
    runtime = open_runtime(LlamaConfig(model=str(path), name="test", ctx=ctx, batch=128, reranks=True))
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def bert(bert_file: Path) -> Iterator[Runtime]:
    with opened(bert_file) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def qwen3(qwen3_file: Path) -> Iterator[Runtime]:
    with opened(qwen3_file) as runtime:
        yield runtime


def pairs(runtime: Runtime, query: str, *documents: str, cut: Cut = Cut()) -> list[list[int]]:
    assert runtime.pairs
    return runtime.pairs.pairs(query, documents, cut)


def words(text: str) -> list[int]:
    return [WORDS.index(f"\u2581{word}") for word in text.split()]


def test_a_reranker_does_nothing_else(bert: Runtime, qwen3: Runtime) -> None:
    """Even if it could generate by its kind."""
    for runtime in (bert, qwen3):
        assert runtime.backend is None
        assert (True, False) == (runtime.info.reranks, runtime.info.generates)


def test_a_pair_is_joined_by_separators(bert: Runtime) -> None:
    """As llama-server joins it for a file that asks for nothing else."""
    assert [[CLS, *words("the sky"), SEP, *words("is blue")]] == pairs(bert, "the sky", "is blue")


def test_a_pair_fills_the_files_template(qwen3: Runtime) -> None:
    """In one piece: a word is joined with the space before it."""
    (pair,) = pairs(qwen3, "q", "d")
    filled = TEMPLATE.replace("{query}", "q").replace("{document}", "d")
    assert qwen3.vocab.tokenize(filled, special=True) == pair
    assert qwen3.vocab.tokenize(" q", special=False)[0] in pair


@pytest.mark.parametrize("text", [CONTROLS[1], "{document}", f"a{CONTROLS[0]}{{query}}"])
def test_texts_do_not_become_control_tokens_or_places(qwen3: Runtime, text: str) -> None:
    """Nobody who writes a document decides how relevant it is."""
    (pair,) = pairs(qwen3, text, f"x{text}")
    assert TEMPLATE.replace("{query}", text, 1).replace(": {document}<", f": x{text}<") == (
        qwen3.vocab.detokenize(pair).decode()
    )
    control = [qwen3.vocab.tokenize(token, special=True)[0] for token in CONTROLS]
    assert [2, 1] == [pair.count(token) for token in control]


def test_scores_are_those_of_the_network(bert: Runtime, bert_file: Path) -> None:
    """Computed without llama.cpp, for documents alone and together."""
    inputs = pairs(bert, QUERY, *DOCUMENTS)
    scores = [float(row[0]) for row in bert.embed(inputs)]
    assert [bert_score(bert_file, pair) for pair in inputs] == pytest.approx(scores, abs=2e-3)
    assert len(DOCUMENTS) == len({round(score, 4) for score in scores})
    assert scores[1:2] == pytest.approx([float(row[0]) for row in bert.embed(inputs[1:2])])


@pytest.mark.parametrize("words", [1, 30, 90])
def test_a_decoders_score_is_the_share_of_yes(qwen3: Runtime, qwen3_file: Path, words: int) -> None:
    """However many chunks the pair is read in."""
    inputs = pairs(qwen3, "who?", "me " * words, "you " * words)
    scores = [float(row[0]) for row in qwen3.embed(inputs)]
    assert [qwen3_score(qwen3_file, pair) for pair in inputs] == pytest.approx(scores, abs=2e-3)
    assert all(0 < score < 1 for score in scores)


def test_a_pair_that_is_too_long_is_refused_with_the_counts(bert: Runtime) -> None:
    """By the number that the caller knows the document by."""
    tokenizer = bert.pairs
    assert tokenizer
    with pytest.raises(
        ContextLengthExceeded, match=r"64 tokens.*document 8 has 80 tokens, and 84 with"
    ) as error:
        tokenizer.pairs("the sky", ["is", "blue " * 80], first=7)
    assert "documents[8]" == error.value.param
    with pytest.raises(ContextLengthExceeded, match="query alone has 82 tokens") as error:
        pairs(bert, "blue " * 80, "is")
    assert "query" == error.value.param


def test_documents_are_cut_on_request(bert: Runtime) -> None:
    """To a number of tokens, or to what fits."""
    (three,) = pairs(bert, "the sky", "is blue light sky", cut=Cut(tokens=3))
    assert [CLS, *words("the sky"), SEP, *words("is blue light")] == three
    (fits,) = pairs(bert, "the sky", "blue " * 80, cut=Cut(to_fit=True))
    assert 64 == len(fits)
    with pytest.raises(ContextLengthExceeded):
        pairs(bert, "the sky", "blue " * 80, cut=Cut(tokens=70))


@pytest.mark.parametrize("text", ["blue q sky", "字éß", CONTROLS[0]])
def test_a_cut_document_keeps_the_template_around_it(qwen3: Runtime, text: str) -> None:
    """And is cut between characters."""
    (pair,) = pairs(qwen3, "what?", text * 300, cut=Cut(to_fit=True))
    assert 512 - 8 <= len(pair) <= 512
    start, end = TEMPLATE.replace("{query}", "what?").split("{document}")
    filled = qwen3.vocab.detokenize(pair).decode()
    assert filled.startswith(start + text)
    assert filled.endswith(end)
    assert (text * 300).startswith(filled.removeprefix(start).removesuffix(end))


def test_a_template_needs_both_texts(tmp_path: Path) -> None:
    """Without the document there is nothing to score."""
    write_qwen3_reranker(tmp_path / "a.gguf", template="{query}")
    config = LlamaConfig(model=str(tmp_path / "a.gguf"), name="test", ctx=64, batch=64)
    with pytest.raises(ModelLoadFailed, match=r"lacks {query} or {document}"):
        open_runtime(config)


def test_a_file_may_say_itself_that_it_reranks(tmp_path: Path) -> None:
    """Then no configuration has to."""
    write_bert(tmp_path / "a.gguf", gguf.PoolingType.RANK, head=True)
    runtime = open_runtime(LlamaConfig(model=str(tmp_path / "a.gguf"), name="test", ctx=64, batch=64))
    assert runtime.info.reranks
    runtime.close()


def test_a_head_of_one_matrix_scores_between_minus_one_and_one(tmp_path: Path) -> None:
    """Jina's; two texts are parted by the end of one and a separator."""
    write_jina_reranker(path := tmp_path / "jina.gguf")
    assert read_header(path).reranks
    with opened(path, ctx=128) as runtime:
        q, d = (runtime.vocab.tokenize(letter, special=False)[0] for letter in "qd")
        assert [[START, q, END, END, d, END]] == pairs(runtime, "q", "d")
        rows = runtime.embed(pairs(runtime, "what?", "this", "that", "</s>"))
        scores = [float(row[0]) for row in rows]
        assert all(-1 < score < 1 for score in scores)
        assert 3 == len(set(scores))


def test_the_pairs_of_a_request_read_the_query_once(
    qwen3_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their scores are those of pairs that are read alone; another request begins anew, and so does what failed."""
    read: list[int] = []
    run = DecoderReranker._run

    def count(self: DecoderReranker, start: int, tokens: list[int]) -> None:
        read.append(len(tokens))
        run(self, start, tokens)

    monkeypatch.setattr(DecoderReranker, "_run", count)
    with opened(qwen3_file) as runtime:
        inputs = pairs(runtime, "why is the sky blue? " * 8, "because", "beware", "", "because")
        alone = []
        for tokens in inputs:
            runtime.forget_inputs()
            read.clear()
            alone.append(float(runtime.embed([tokens])[0][0]))
            assert len(tokens) == sum(read)
        read.clear()
        together = [float(row[0]) for row in runtime.embed(inputs)]
        assert alone == pytest.approx(together, abs=2e-3)
        assert [qwen3_score(qwen3_file, tokens) for tokens in inputs] == pytest.approx(together, abs=2e-3)
        assert sum(read) < sum(map(len, inputs)) / 2

        runtime.forget_inputs()
        steps = runtime.embed_steps(inputs[0], lambda: 16)
        next(steps)
        steps.close()
        read.clear()
        assert alone[:1] == pytest.approx([float(runtime.embed(inputs[:1])[0][0])], abs=2e-3)
        assert len(inputs[0]) == sum(read)
