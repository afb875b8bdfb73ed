from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.binding.vocab import LlamaVocab
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.structured.tokenizer import TextTokenizer


@pytest.fixture
def vocab(model_file: Path, llama_log: LogCapture) -> Iterator[LlamaVocab]:
    model = LlamaModel(LlamaConfig(model=str(model_file), name="nano", ctx=256, cells=256), llama_log)
    yield model.vocab
    model.close()


def test_text_put_into_an_answer_has_the_models_own_tokens(vocab: LlamaVocab) -> None:
    tokenizer = TextTokenizer(vocab)
    for text in ("\n</think>\n\n", '<tool_call>\n{"name": "', "plain words", " and spaces", "héllo ✓"):
        tokens = tokenizer.encode(text)
        assert tokens == vocab.tokenize(text, special=False)
        assert b"".join(map(vocab.piece, tokens)).decode() == text


def test_control_tokens_are_text_once_they_are_shown(vocab: LlamaVocab) -> None:
    (token,) = vocab.tokenize("<|im_start|>", special=True)
    assert vocab.piece(token) == b""
    vocab.show(["<|im_start|>", "<|im_end|>", "no token at all"])
    assert vocab.piece(token) == b"<|im_start|>"
    assert vocab.markers == {"<|im_start|>": token}
    assert TextTokenizer(vocab).encode("a<|im_start|>b")[1] == token
    assert token not in vocab.tokenize("a<|im_start|>b", special=False)
