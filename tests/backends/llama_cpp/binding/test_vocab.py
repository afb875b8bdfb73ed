from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.binding.vocab import LlamaVocab
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from tests.support.nano import PROMPTS


@pytest.fixture(scope="module")
def model(model_file: Path, llama_log: LogCapture) -> Iterator[LlamaModel]:
    loaded = LlamaModel(LlamaConfig(model=str(model_file), name="test", ctx=256, cells=256), llama_log)
    yield loaded
    loaded.close()


@pytest.mark.parametrize(
    "text",
    [
        "Hello world, how are you?",
        " two  spaces ",
        "é€😀 日本語",
        "a\n\n\tb\r\n",
        "x" * 3000,
        "",
        "\x00\x01",
        "🏳️‍🌈",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_a_text_makes_a_round_trip(model: LlamaModel, text: str) -> None:
    """Detokenizing gives the text back, as a whole and token by token."""
    vocab = model.vocab
    tokens = vocab.tokenize(text, special=False)
    assert text == vocab.detokenize(tokens).decode()
    assert text == b"".join(vocab.piece(token) for token in tokens).decode()


def controls(vocab: LlamaVocab) -> list[int]:
    return [vocab.tokenize(text, special=True)[0] for text in vocab.control_tokens()]


def test_control_tokens_are_recognised_where_they_are_trusted(model: LlamaModel) -> None:
    """In trusted text, each control token's text is that one token."""
    texts = model.vocab.control_tokens()
    assert texts
    assert [1] * len(texts) == [len(model.vocab.tokenize(text, special=True)) for text in texts]
    assert len(texts) == len(set(controls(model.vocab)))


def test_control_tokens_are_plain_text_where_they_are_not_trusted(model: LlamaModel) -> None:
    """In untrusted text, control tokens are spelled out in plain tokens."""
    text = "a" + "b".join(model.vocab.control_tokens()) + "c"
    tokens = model.vocab.tokenize(text, special=False)
    assert set() == set(tokens) & set(controls(model.vocab))
    assert text == model.vocab.detokenize(tokens).decode()


def test_control_tokens_show_in_a_prompt_and_not_in_an_answer(model: LlamaModel) -> None:
    """Detokenizing shows them; the pieces of an answer have no text unless `special`."""
    vocab = model.vocab
    for text, token in zip(vocab.control_tokens(), controls(vocab), strict=True):
        assert text == vocab.detokenize([token]).decode()
        assert (b"", text.encode()) == (vocab.piece(token), vocab.piece(token, special=True))


@pytest.mark.parametrize(("at_once", "room"), [(4096, 64), (100, 2), (1, 1)])
def test_all_pieces_at_once_are_the_pieces(
    model: LlamaModel, monkeypatch: pytest.MonkeyPatch, at_once: int, room: int
) -> None:
    """Also those that do not fit, and markers that are shown."""
    monkeypatch.setattr("edgeinfer.backends.llama_cpp.binding.vocab.PIECES_AT_ONCE", at_once)
    monkeypatch.setattr("edgeinfer.backends.llama_cpp.binding.vocab.PIECE_ROOM", room)
    vocab = LlamaVocab(model.vocab._vocab, model.vocab._limits)
    for markers in ([], ["<|im_start|>"]):
        vocab.show(markers)
        assert [vocab.piece(token) for token in range(vocab.size)] == vocab.pieces()
    assert vocab.markers


def test_the_end_token_ends_an_answer_and_letters_do_not(model: LlamaModel) -> None:
    """End tokens are those of llama.cpp's vocabulary."""
    assert model.vocab.eos is not None
    assert model.vocab.is_end(model.vocab.eos)
    assert not any(map(model.vocab.is_end, model.vocab.tokenize("Hello", special=False)))


def test_the_tokens_of_a_hole_are_found_and_end_an_answer(model: LlamaModel) -> None:
    """All fill-in-the-middle tokens end an answer, although llama.cpp says so of only a few."""
    fim = model.vocab.fim
    assert fim is not None
    tokens = msgspec.structs.astuple(fim)
    assert None not in tokens
    assert list(tokens) == [
        *model.vocab.tokenize("<|fim_prefix|><|fim_suffix|><|fim_middle|>", special=True),
        *model.vocab.tokenize("<|repo_name|><|file_sep|>", special=True),
    ]
    assert all(map(model.vocab.is_end, tokens))


def test_tokenizing_adds_nothing_around_a_text(model: LlamaModel) -> None:
    """BOS is added by the caller."""
    tokens = model.vocab.tokenize("Hello", special=True)
    assert not {model.vocab.bos, model.vocab.eos} & set(tokens)


def test_tokenizing_is_thread_safe(model: LlamaModel) -> None:
    """The reader's thread tokenizes while the engine's thread decodes and looks up pieces."""
    expected = [model.vocab.tokenize(prompt, special=True) for prompt in PROMPTS]
    wrong: list[str] = []

    def work() -> None:
        for _ in range(30):
            encodings = [model.vocab.tokenize(prompt, special=True) for prompt in PROMPTS]
            texts = [model.vocab.detokenize(tokens).decode() for tokens in encodings]
            if encodings != expected or texts != PROMPTS:
                wrong.append("differs")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


# --- the model
