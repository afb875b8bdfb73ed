"""What a model's folder says about it, and what is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.safetensors.folder import (
    folder_revision,
    is_folder_file,
    is_model_folder,
    read_folder,
    read_tokenizer,
)
from edgeinfer.safetensors.vocabulary import parse_vocabulary
from tests.support.tiny_qwen2 import (
    ADDED,
    CHAT_TEMPLATE,
    CONTEXT,
    KV_HEADS,
    LAYERS,
    VOCABULARY,
    write_tiny_qwen2,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_qwen2(tmp_path / "tiny")


def changed(model: Path, file: str, **values: Any) -> Path:
    path = model / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return model


def test_the_facts_of_a_model(model: Path) -> None:
    """Shape, size, and what its makers recommend."""
    folder = read_folder(model)
    assert is_model_folder(model)
    assert ("qwen2", "F32", CONTEXT, VOCABULARY) == (
        folder.architecture,
        folder.dtype,
        folder.context,
        folder.vocabulary,
    )
    assert (LAYERS, KV_HEADS) == (folder.layers, folder.kv_heads)
    assert 4 * folder.parameters == folder.size
    assert {"temperature": 0.6, "top_p": 0.9} == folder.sampling
    assert folder.generates


def test_several_files_are_found_by_their_index(tmp_path: Path) -> None:
    """As one file is."""
    one, several = read_folder(write_tiny_qwen2(tmp_path / "1")), write_tiny_qwen2(tmp_path / "3", shards=3)
    assert one.size == read_folder(several).size
    (several / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelLoadFailed, match=r"model-00002-of-00003\.safetensors is missing"):
        read_folder(several)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "weights.bin", ".hidden.safetensors"])
def test_an_index_names_only_files_of_weights(name: str, tmp_path: Path) -> None:
    """It may not lead elsewhere."""
    model = write_tiny_qwen2(tmp_path / "tiny", shards=2)
    changed(model, "model.safetensors.index.json", weight_map={"a": name})
    with pytest.raises(ModelLoadFailed, match="is no file of weights"):
        read_folder(model)


def test_pickled_weights_are_refused(model: Path) -> None:
    """They can run code."""
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelLoadFailed, match="a format that can run code"):
        read_folder(model)
    assert not is_folder_file("pytorch_model.bin")
    assert not is_folder_file("modeling_qwen.py")
    assert not is_folder_file("sub/model.safetensors")


@pytest.mark.parametrize("value", [0, -1, "2", 1 << 40, True, None])
def test_a_number_that_cannot_be_is_named(value: Any, model: Path) -> None:
    """With the field."""
    with pytest.raises(ModelLoadFailed, match=r"config\.json: num_hidden_layers"):
        read_folder(changed(model, "config.json", num_hidden_layers=value))


def test_a_file_that_is_too_large_is_not_read(model: Path) -> None:
    """No real one is like that."""
    with (model / "config.json").open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(ModelLoadFailed, match=r"config\.json has 1073741824 bytes"):
        read_folder(model)


def test_a_replaced_file_changes_the_revision(model: Path) -> None:
    """Prompts are made for one."""
    before = folder_revision(model)
    assert before == folder_revision(model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    assert before != folder_revision(model)


def test_the_vocabulary_spells_tokens_in_bytes(model: Path) -> None:
    """Letters of a byte-level vocabulary stand for bytes."""
    facts = read_tokenizer(model)
    vocabulary = facts.vocabulary
    assert bytes(range(256)) == b"".join(vocabulary.pieces[:256])
    assert b" the" == vocabulary.piece(258)
    assert set(ADDED) == set(vocabulary.added)
    assert "<think>" not in vocabulary.special
    assert "the \N{EURO SIGN}" == vocabulary.text([*b"the", *" \N{EURO SIGN}".encode()])
    assert b"" == vocabulary.piece(100_000)
    assert {"default": CHAT_TEMPLATE} == facts.chat_templates
    assert ("<|im_end|>", "", False) == (facts.eos, facts.bos, facts.add_bos)


def test_a_template_in_a_file_of_its_own_is_newer(model: Path) -> None:
    """Repositories of today have it there."""
    (model / "chat_template.jinja").write_text("hello")
    assert {"default": "hello"} == read_tokenizer(model).chat_templates


def test_a_vocabulary_of_sentencepiece() -> None:
    """With spaces and bytes as it writes them, and a token in front."""
    vocabulary = parse_vocabulary(
        json.dumps(
            {
                "model": {"type": "Unigram", "vocab": [["<s>", 0], ["\u2581hi", -1], ["<0xE4>", -2]]},
                "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
                },
            }
        ).encode()
    )
    assert [b"<s>", b" hi", b"\xe4"] == vocabulary.pieces
    assert "<s>" == vocabulary.bos


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"model": {"vocab": {"a": -1}}}',
        b'{"model": {"vocab": {"a": 4000000000}}}',
        b'{"model": {"vocab": {}}}',
        b'{"model": {"vocab": {"a": "b"}}}',
        b'{"a":' * 100_000,
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused(data: bytes) -> None:
    """Nothing is allocated for it."""
    with pytest.raises(ModelLoadFailed, match=r"tokenizer\.json is not usable"):
        parse_vocabulary(data)
