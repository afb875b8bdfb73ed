"""Tokenizers of SentencePiece: what is made of tokenizer.model gives the same tokens as SentencePiece itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.safetensors.folder import model_files, read_tokenizer, read_tokenizer_json
from edgeinfer.safetensors.sentencepiece import tokenizer_json
from tests.support.debian_programs import find_module
from tests.support.paths import DOCS

TEXTS = (
    "The daemon serves a model.",
    "  two  spaces, and a line\nbreak\t",
    "naïve café – 中文, emoji 🦙!",
    "x" * 40,
    "def f(x):\n    return {'a': [1, 2.5]}\n",
)

KINDS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
              "remove_extra_whitespaces": False, "split_digits": True},
    "gemma": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
              "remove_extra_whitespaces": False, "add_dummy_prefix": False, "user_defined_symbols": ["<mask>", "\n\n"]},
    "unigram": {"model_type": "unigram", "byte_fallback": True},
    "without bytes": {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc"},
}  # fmt: skip
"""How models of these families were trained."""


def trained(folder: Path, **options: Any) -> Any:
    """Train a tokenizer on our documentation; -> SentencePiece's own reader of it."""
    spm = find_module("sentencepiece", "sentencepiece")
    lines = "".join(path.read_text() for path in sorted(DOCS.glob("*.md"))).splitlines()
    spm.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=1500,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return spm.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_texts_have_the_tokens_that_sentencepiece_gives_them(tmp_path: Path, kind: str) -> None:
    """And come back as they were, where nothing was unknown."""
    theirs = trained(tmp_path, **KINDS[kind])
    tokenizers = find_module("tokenizers", "sentencepiece")
    ours = tokenizers.Tokenizer.from_str(read_tokenizer_json(tmp_path).decode())
    words = (DOCS / "api.md").read_text().split()
    choice = random.Random(1)
    texts = [*TEXTS, *(" ".join(choice.sample(words, 12)) for _ in range(40))]
    for text in texts:
        tokens = theirs.encode(text)
        assert ours.encode(text, add_special_tokens=False).ids == tokens
        if theirs.unk_id() not in tokens:
            assert ours.decode(tokens, skip_special_tokens=False) == theirs.decode(tokens)


@pytest.mark.slow
def test_the_vocabulary_is_that_of_the_file(tmp_path: Path) -> None:
    """With the tokens that the folder adds, and the one that begins a text."""
    theirs = trained(tmp_path, **KINDS["llama"])
    added = {"1500": {"content": "<|im_end|>", "special": True}, "1501": {"content": "<tool>"}}
    config = {"bos_token": "<s>", "eos_token": "</s>", "added_tokens_decoder": added}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    facts = read_tokenizer(tmp_path)
    vocabulary = facts.vocabulary
    assert (facts.bos, facts.eos, facts.add_bos) == ("<s>", "</s>", True)
    assert vocabulary.added == {"<unk>": 0, "<s>": 1, "</s>": 2, "<|im_end|>": 1500, "<tool>": 1501}
    assert vocabulary.special == {"<unk>", "<s>", "</s>", "<|im_end|>"}
    text = "naïve 🦙"
    assert vocabulary.text(theirs.encode(text)) == f" {text}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": False}))
    assert not read_tokenizer(tmp_path).add_bos


def test_tokenizer_json_is_preferred() -> None:
    names = ["config.json", "tokenizer.model", "model.safetensors", "tokenizer.json", "run.py"]
    assert model_files(names) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert model_files(names[:3]) == ["config.json", "model.safetensors", "tokenizer.model"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x03\x0a\x01\xff",
        b"\xff" * 40,
        b"\x0b",
        b"\x0a\x02\x15\x00",
        b"\x0a\x81\x08" + b"\x0a\xfe\x07" + b"x" * 1022,
        b"\x0a\x07\x0a\x03<u>\x18\x02" + b"\x12\x02\x18\x03",
    ],
    ids=[
        "empty",
        "cut",
        "too long",
        "no text",
        "endless number",
        "group",
        "cut number",
        "long piece",
        "words",
    ],
)
def test_what_is_no_tokenizer_is_refused(data: bytes) -> None:
    with pytest.raises(ModelLoadFailed, match=r"tokenizer\.model is not usable"):
        tokenizer_json(data, {}, {})


def test_any_bytes_are_refused_or_read() -> None:
    """Nothing else is raised."""
    choice = random.Random(7)
    sound = b"\x0a\x07\x0a\x03<u>\x18\x02\x0a\x0a\x0a\x03abc\x15\x00\x00\x80\xbf\x12\x02\x18\x02"
    tokenizer_json(sound, {}, {})
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(choice.randint(1, 4)):
            data[choice.randrange(len(data))] = choice.randrange(256)
        try:
            tokenizer_json(bytes(data[: choice.randint(1, len(data))]), {}, {})
        except ModelLoadFailed:
            continue
