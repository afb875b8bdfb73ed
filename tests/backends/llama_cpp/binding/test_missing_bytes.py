"""Vocabularies that lack a token for a byte: what they cannot write is refused, everything else is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp.llama_cpp as lib
import pytest

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.missing_bytes import missing_bytes
from edgeinfer.backends.llama_cpp.binding.tokenizer_limits import TokenizerLimits
from edgeinfer.backends.llama_cpp.binding.vocab import LlamaVocab
from edgeinfer.engine.structured.completer import GrammarCompleter
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import InvalidRequest
from tests.support.gguf import byte_tokens
from tests.support.vocabularies import PRE_TYPES, write_vocabulary

SMILEY = "\U0001f600"
FINE = "Hello, world!\n\t  {}[]\r\n a\u0301 é字한ก <|end|> aaab"


@contextmanager
def vocabulary(path: Path, kind: str, without: bytes) -> Iterator[LlamaVocab]:
    write_vocabulary(path / f"{kind}.gguf", kind, without)
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(path / f"{kind}.gguf").encode(), params)
    assert model
    try:
        yield LlamaVocab(lib.llama_model_get_vocab(model), TokenizerLimits("gpt2", kind))
    finally:
        lib.llama_model_free(model)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("kind", ["starcoder", "falcon", "gpt-2", "llama-bpe", "qwen2"])
def test_what_would_be_lost_is_refused_by_name(
    tmp_path: Path, llama_log: LogCapture, kind: str, special: bool
) -> None:
    """llama.cpp's own tokens leave it out. What can be written is tokenized as ever, also around control tokens."""
    with vocabulary(tmp_path, kind, b"\x00\xf0") as vocab:
        for text in (f"a {SMILEY}", f"{FINE}{SMILEY}{SMILEY}", SMILEY):
            with pytest.raises(InvalidRequest, match=f"a part of the text: '{SMILEY}'"):
                vocab.tokenize(text, special=special)
        with pytest.raises(InvalidRequest, match=rf"'.x00', '{SMILEY}'"):
            vocab.tokenize(f"{FINE}\0{SMILEY}", special=special, add_special=True)
        tokens = vocab.tokenize(FINE, special=special)
        assert FINE.encode() == vocab.detokenize(tokens)
        assert special == (0 in tokens)


@pytest.mark.parametrize("kind", PRE_TYPES)
def test_a_whole_vocabulary_loses_nothing(tmp_path: Path, llama_log: LogCapture, kind: str) -> None:
    """So nothing is refused, however a tokenizer changes texts."""
    with vocabulary(tmp_path, kind, b"") as vocab:
        for text in (FINE, f" {FINE.upper()}{SMILEY}\0 ", " a", ""):
            vocab.tokenize(text, special=True, add_special=True)
            vocab.tokenize(text, special=False)


def test_texts_of_ours_are_written_as_far_as_they_can_be(tmp_path: Path, llama_log: LogCapture) -> None:
    """A grammar that needs what is missing fails by itself; nothing else does."""
    with vocabulary(tmp_path, "starcoder", b"}\x00") as vocab:
        assert vocab.detokenize(TextTokenizer(vocab).encode("a}b")) == b"ab"
        GrammarCompleter(vocab)
        vocab.show(["<|end|>", "}"])


def test_each_byte_needs_a_token_of_its_own() -> None:
    """In GPT-2's alphabet; of vocabularies that do without it nothing is known to be missing."""
    assert frozenset() == missing_bytes(byte_tokens())
    assert {0, 10} == missing_bytes([t for t in byte_tokens() if t not in ("\u0100", "\u010a")])
    assert frozenset() == missing_bytes([*byte_tokens()[1:], "<0x00>"])
    assert frozenset() == missing_bytes(["a", "b"])
