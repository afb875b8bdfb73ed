"""Reading headers of files: what they say."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import gguf
import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.ggml_types import TYPES
from edgeinfer.gguf.header import Tensor, read_header
from tests.support.gguf_bytes import (
    ARRAY,
    FLOAT32,
    FLOAT64,
    INT64,
    MB,
    Q8_0,
    STRING,
    count,
    entry,
    header,
    model,
    raw,
    read,
    tensor,
    text,
)


def test_the_header_of_a_real_model_is_read(model_file: Path) -> None:
    """As the gguf package reads it."""
    parsed, reader = read_header(model_file), gguf.GGUFReader(model_file)
    assert model_file.stat().st_size == parsed.size
    assert parsed.architecture == reader.fields["general.architecture"].contents()
    for key in ("block_count", "context_length", "embedding_length", "attention.head_count"):
        field = reader.fields[f"{parsed.architecture}.{key}"]
        assert field.contents() == parsed.number(key)
    assert [
        Tensor(t.name, tuple(map(int, t.shape)), t.tensor_type.name, t.data_offset, t.n_bytes)
        for t in reader.tensors
    ] == list(parsed.tensors)
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == parsed.vocabulary
    assert parsed.weight_bytes == sum(parsed.by_type().values()) == sum(t.n_bytes for t in reader.tensors)
    assert {"Q8_0", "F32"} == parsed.by_type().keys()


def test_the_types_of_tensors_are_those_of_the_gguf_package() -> None:
    """All but the two that ggml makes while it computes. It lacks one that llama.cpp has."""
    theirs = {(kind.value, kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    ours = {(number, *kind) for number, kind in TYPES.items()}
    assert {"Q8_1", "Q8_K"} == {name for _, name, *_ in theirs - ours}
    assert {name for _, name, *_ in ours - theirs} <= {"Q2_0"}


def test_every_kind_of_value_is_read(file: Path) -> None:
    """Numbers of all widths, booleans, texts; of arrays short ones of numbers, of all the length."""
    writer = gguf.GGUFWriter(file, "test")
    values: dict[str, Any] = {
        "uint8": 200,
        "int8": -100,
        "uint16": 60000,
        "int16": -30000,
        "uint32": 4_000_000_000,
        "int32": -2_000_000_000,
        "uint64": 2**63,
        "int64": -(2**62),
        "float32": 0.5,
        "float64": 0.1,
        "bool": True,
        "string": "Größe",
    }
    for kind, value in values.items():
        getattr(writer, f"add_{kind}")(f"test.{kind}", value)
    writer.add_array("test.numbers", [1, -2, 3])
    writer.add_array("test.halves", [0.5, 1.5])
    writer.add_array("test.many", list(range(513)))
    writer.add_array("test.texts", ["a", "", "ö" * 100])
    writer.add_block_count(3)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_head_count([4, 8, 4])
    writer.add_uint32("test.last", 7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    parsed = read_header(file)
    assert values == {kind: parsed.metadata[f"test.{kind}"] for kind in values}
    assert [1, -2, 3] == parsed.metadata["test.numbers"]
    assert [0.5, 1.5] == parsed.metadata["test.halves"]
    assert not {"test.many", "test.texts"} & parsed.metadata.keys()
    lengths = {"numbers": 3, "halves": 2, "many": 513, "texts": 3, "attention.head_count": 3}
    assert {f"test.{key}": n for key, n in lengths.items()} == parsed.lengths
    assert 7 == parsed.number("last")
    assert [7, 7, 7] == parsed.per_layer("last")
    assert [4, 8, 4] == parsed.per_layer("attention.head_count")
    assert (None, None) == (parsed.per_layer("numbers_"), parsed.per_layer("halves"))


def test_a_number_that_is_not_there_is_none(file: Path) -> None:
    """Nor is a text a number."""
    parsed = read(file, header(entry("a.b", STRING, text("5"))))
    assert (None, None) == (parsed.number("none"), parsed.number("b"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (FLOAT32, struct.pack("<f", float("inf"))),
        (FLOAT64, struct.pack("<d", float("nan"))),
        (FLOAT64, struct.pack("<d", 0.5)),
        (INT64, struct.pack("<q", -5)),
        (INT64, struct.pack("<q", 0)),
    ],
    ids=["infinite", "no number", "a fraction", "negative", "zero"],
)
def test_a_number_that_is_no_count_is_none(kind: int, value: bytes, file: Path) -> None:
    """The plan would divide by it, or reserve so many."""
    parsed = read(file, header(entry("a.feed_forward_length", kind, value)))
    assert "a.feed_forward_length" in parsed.metadata
    assert parsed.number("feed_forward_length") is None


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """In the system's words."""
    with pytest.raises(ModelLoadFailed, match="No such file"):
        read_header(tmp_path / "none.gguf")


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    """It exists, which is not enough."""
    with pytest.raises(ModelLoadFailed):
        read_header(tmp_path)


def test_a_long_text_is_passed_over(file: Path) -> None:
    """A template of megabytes is llama.cpp's to read."""
    parsed = read(file, header(entry("b", STRING, text("x" * 2 * MB)), entry("c", STRING, text("y"))))
    assert "b" not in parsed.metadata
    assert "y" == parsed.metadata["c"]


def test_a_text_that_is_no_utf8_is_read_all_the_same(file: Path) -> None:
    """What is broken in it is replaced."""
    assert "x\ufffd" == read(file, header(entry("b", STRING, text(b"x\xff")))).metadata["b"]


def test_heads_of_a_known_architecture_have_one_size(file: Path) -> None:
    """llama.cpp ends the process for others; of architectures that allow it, they may differ."""
    counts = {"block_count": 2, "context_length": 256, "embedding_length": 64, "attention.head_count": 4}
    counts["rope.dimension_count"] = 8
    for architecture, sound in {"phi3": True, "qwen2": False}.items():
        name = entry("general.architecture", STRING, text(architecture))
        data = raw(name, *(count(f"{architecture}.{key}", n) for key, n in counts.items()))
        if sound:
            assert 8 == read(file, data).number("rope.dimension_count")
        else:
            with pytest.raises(ModelLoadFailed, match="rotation of 8"):
                read(file, data)


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (("a", "b", "a"), "token 'a' appears twice"),
        (("a\0b", "a\0c"), "token 'a' appears twice"),
        (("", "[EMPTY_0]"), "token '[EMPTY_0]' appears twice"),
    ],
)
def test_tokens_that_are_the_same_to_llama_cpp_are_refused(
    tokens: tuple[str, ...], problem: str, file: Path
) -> None:
    """It ends the process for them, and reads each up to its first zero."""
    data = struct.pack("<IQ", STRING, len(tokens)) + b"".join(map(text, tokens))
    with pytest.raises(ModelLoadFailed, match=re.escape(problem)):
        read(file, header(entry("tokenizer.ggml.tokens", ARRAY, data)))


def test_tokens_that_differ_are_counted(file: Path) -> None:
    """Empty ones too, and more of them than are read from the file at once."""
    tokens = [b"", b"[EMPTY_1]", *(b"%0100d" % i for i in range(20_000))]
    data = struct.pack("<IQ", STRING, len(tokens)) + b"".join(map(text, tokens))
    parsed = read(file, header(entry("tokenizer.ggml.tokens", ARRAY, data), count("a.last", 7)))
    assert (20_002, 7) == (parsed.vocabulary, parsed.number("last"))


def test_tensors_are_found_where_they_lie(file: Path) -> None:
    """The data begins at a multiple of the alignment, and so does each tensor of it."""
    entries = (count("general.alignment", 64),)
    data = header(*entries, tensors=2) + tensor("x", (8, 3)) + tensor("y", (64, 2), Q8_0, 128)
    start = -(-len(data) // 64) * 64
    parsed = read(file, data.ljust(start + 128 + 136, b"\0"))
    assert [
        Tensor("x", (8, 3), "F32", start, 96),
        Tensor("y", (64, 2), "Q8_0", start + 128, 136),
    ] == list(parsed.tensors)
    assert (232, {"F32": 96, "Q8_0": 136}) == (parsed.weight_bytes, parsed.by_type())


def test_tables_of_whole_numbers_are_no_weights(file: Path) -> None:
    """They may be what they are."""
    assert ["I32"] == [t.type for t in read(file, model(tensor("table", (8, 8), 26))).tensors]
