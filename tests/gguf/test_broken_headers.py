"""Headers that no model has are refused, quickly and in a line."""

from __future__ import annotations

import re
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.header import Header, read_header
from tests.support.gguf_bytes import (
    ARRAY,
    FLOAT32,
    FLOAT64,
    MB,
    NEEDED,
    Q8_0,
    STRING,
    UINT32,
    count,
    entry,
    header,
    model,
    raw,
    read,
    tensor,
    text,
)

HUGE = struct.pack("<Q", 2**64 - 1)


NUMBER = struct.pack("<I", 1)


def array(kind: int, n: int, data: bytes = b"") -> bytes:
    return entry("b", ARRAY, struct.pack("<IQ", kind, n) + data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGU",
        b"GGUF",
        b"GGML" + header()[4:],
        b"<html>404 Not Found</html>",
        raw(*NEEDED, version=1),
        raw(*NEEDED, version=4),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        raw(keys=1),
        raw(keys=2**64 - 1),
        raw(keys=5000),
        raw(HUGE + b"key", keys=1),
        header(entry("b", 13, NUMBER)),
        header(entry("b", 2**32 - 1, NUMBER)),
        header(entry("b", STRING, HUGE)),
        header(entry("b", STRING, struct.pack("<Q", 2**40) + b"x" * 100)),
        header(array(UINT32, 2**64 - 1)),
        header(array(UINT32, 2**62)),
        header(array(UINT32, 3, NUMBER)),
        header(array(STRING, 2**64 - 1)),
        header(array(STRING, 1, HUGE)),
        header(array(ARRAY, 1, struct.pack("<IQ", UINT32, 1) + NUMBER)),
        header(array(77, 1)),
        header(count("b", 1), count("b", 1)),
        header(entry("b", UINT32, b"\x01")),
        header(entry("", UINT32, NUMBER)),
        raw(*NEEDED, text(b"b\0c") + struct.pack("<I", UINT32) + NUMBER),
        raw(*NEEDED, text(b"b\xff") + struct.pack("<I", UINT32) + NUMBER),
        header(tensors=2**64 - 1),
        header(tensors=1 << 17),
        header(tensors=1),
        raw(entry("general.architecture", STRING, text("a" * MB))),
        header(
            entry("b", STRING, text("x" * MB)), *(entry(f"c{i}", STRING, text("x" * MB)) for i in range(8))
        ),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_a_broken_header_is_refused_and_costs_nothing(data: bytes, file: Path) -> None:
    """Whatever counts and lengths it claims, nothing is allocated for them."""
    file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(ModelLoadFailed) as error:
        read_header(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MB + 2 * len(data)
    assert "model" == error.value.param
    assert str(file) in error.value.message


def test_a_header_in_the_order_of_other_machines_is_told_apart(file: Path) -> None:
    """Such files there are; it is no broken download."""
    with pytest.raises(ModelLoadFailed, match="big-endian") as error:
        read(file, b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    assert error.value.hint is None


@pytest.mark.parametrize("length", [3, 10, 24, 100, 1000, 3000, 66_000, 1_000_000, -1])
def test_a_download_that_broke_off_is_refused(length: int, file: Path, model_file: Path) -> None:
    """Anywhere in the file; and it is asked for."""
    with pytest.raises(ModelLoadFailed) as error:
        read(file, model_file.read_bytes()[:length])
    assert "is the download complete?" == error.value.hint


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ((), "general.architecture is missing"),
        ((entry("general.architecture", UINT32, NUMBER),), "general.architecture is missing"),
        (NEEDED[:1], "a.block_count is missing: it is not a language model"),
        (NEEDED[:3], "a.embedding_length is missing"),
        ((NEEDED[0], count("a.block_count", 0), *NEEDED[2:]), "a.block_count is 0"),
        ((NEEDED[0], count("a.block_count", 513), *NEEDED[2:]), "a.block_count is 513"),
        ((*NEEDED[:3], count("a.embedding_length", 2**31)), "a.embedding_length is 2147483648"),
        ((*NEEDED, count("split.count", 3)), "one of 3 parts; merge them"),
        ((*NEEDED, entry("a.rope.scaling.type", STRING, text("spiral"))), "rope.scaling.type is 'spiral'"),
        ((*NEEDED, count("a.expert_used_count", 2)), "uses 2 of 0 experts"),
        ((*NEEDED, count("a.expert_count", 8)), "uses 0 of 8 experts"),
        ((*NEEDED, count("a.expert_count", 2000), count("a.expert_used_count", 2)), "of 2000 experts"),
        (
            (
                *NEEDED,
                count("a.expert_count", 8),
                count("a.expert_used_count", 2),
                count("a.expert_group_count", 3),
            ),
            "8 experts in 3 groups",
        ),
        ((*NEEDED, count("a.nextn_predict_layers", 3)), "more prediction layers"),
        (
            (*NEEDED, entry("a.attention.layer_norm_epsilon", FLOAT32, struct.pack("<f", float("nan")))),
            "layer_norm_epsilon is nan",
        ),
        ((*NEEDED, entry("a.attention.layer_norm_epsilon", STRING, text("0"))), "layer_norm_epsilon is '0'"),
        (
            (*NEEDED, count("a.attention.head_count", 8), count("a.attention.head_count_kv", 3)),
            "does not divide",
        ),
        ((*NEEDED, entry("a.attention.head_count", STRING, text("8"))), "head_count is '8'"),
        (
            (*NEEDED, count("a.attention.head_count", 4), count("a.rope.dimension_count", 32)),
            "rotation of 32",
        ),
        ((*NEEDED, count("a.attention.head_count", 4), count("a.rope.dimension_count", 5)), "rotation of 5"),
        ((*NEEDED, count("general.alignment", 0)), "alignment is 0"),
        ((*NEEDED, count("general.alignment", 48)), "alignment is 48"),
        ((*NEEDED, count("general.alignment", 8)), "alignment is 8"),
        ((*NEEDED, entry("general.alignment", STRING, text("32"))), "alignment is '32'"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_no_model_says_is_refused(entries: tuple[bytes, ...], problem: str, file: Path) -> None:
    """llama.cpp would end its process for it, or divide by it."""
    with pytest.raises(ModelLoadFailed, match=re.escape(problem)):
        read(file, raw(*entries))


LONG = "x" * MB


@pytest.mark.parametrize(
    "entries",
    [
        (count(LONG, 1),),
        (entry("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 2) + 2 * text(LONG)),),
        (entry("general.alignment", STRING, text(LONG)),),
        (entry("split.count", STRING, text(LONG)),),
        (entry("a.rope.scaling.type", STRING, text(LONG)),),
        (entry("a.expert_count", STRING, text(LONG)),),
        (entry("a.attention.head_count", ARRAY, struct.pack("<IQ", FLOAT64, 512) + bytes(4096)),),
    ],
)
def test_an_error_is_a_line(entries: tuple[bytes, ...], file: Path) -> None:
    """Whatever the file has in it."""
    with pytest.raises(ModelLoadFailed) as error:
        read(file, header(*entries))
    assert len(error.value.message) < 200 + len(str(file))


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ((tensor(""),), "empty"),
        ((tensor("x" * 64),), "too long"),
        ((tensor(b"a\0b"),), "not ASCII"),
        ((tensor(shape=()),), "0 dimensions"),
        ((tensor(shape=(1,) * 5),), "5 dimensions"),
        ((tensor(dims=2**32 - 1),), "4294967295 dimensions"),
        ((tensor(shape=(64, 0)),), "has the shape (64, 0)"),
        ((tensor(shape=(2**63, 2**63)),), "has the shape"),
        ((tensor(shape=(2**32, 2**32)),), "has the shape"),
        ((tensor(shape=(2**64 - 1,)),), "has the shape"),
        ((tensor(shape=(33, 2), kind=Q8_0),), "type Q8_0 has the shape (33, 2)"),
        ((tensor(kind=4),), "unknown type 4"),
        ((tensor(kind=15),), "unknown type 15"),
        ((tensor(kind=2**32 - 1),), "unknown type 4294967295"),
        ((tensor("a.bias", kind=Q8_0),), "'a.bias' has the type Q8_0"),
        ((tensor("a_norm.weight", (64, 2), Q8_0),), "'a_norm.weight' has the type Q8_0"),
        ((tensor("a.weight", (64, 2), 24),), "'a.weight' has the type I8"),
        ((tensor("x"), tensor("x", offset=256)), "'x' appears twice"),
        ((tensor(offset=32),), "is at 32, not at 0"),
        ((tensor("x"), tensor("y", offset=128)), "'y' is at 128, not at 256"),
        ((tensor("x"), tensor("y", offset=288)), "'y' is at 288, not at 256"),
        ((tensor("x", (63,)), tensor("y", offset=252)), "'y' is at 252, not at 256"),
        ((tensor("x"), tensor("y", offset=2**64 - 1)), "'y' is at"),
        ((tensor("x", (1050,)),), "its tensors need"),
        ((tensor("x", (2000,)),), "runs past the end"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_tensor_that_cannot_be_is_refused(tensors: tuple[bytes, ...], problem: str, file: Path) -> None:
    """Names, shapes, types, places."""
    with pytest.raises(ModelLoadFailed, match=re.escape(problem)):
        read(file, model(*tensors))


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_behind_the_magic_are_read_or_refused(file: Path, data: bytes) -> None:
    """Never anything else."""
    try:
        parsed = read(file, b"GGUF" + struct.pack("<I", 3) + data)
    except ModelLoadFailed:
        return
    assert isinstance(parsed, Header)


@pytest.mark.parametrize(
    ("kind", "length", "data", "words"),
    [
        (7, 512, bytes(512), "arrays of 66048 numbers"),
        (FLOAT64, 512, bytes(8 * 512), "arrays of 66048 numbers"),
        (STRING, 1 << 20, b"", "arrays of 3145728 texts"),
    ],
    ids=("flags", "numbers", "texts"),
)
def test_many_arrays_are_refused_before_they_are_objects(
    kind: int, length: int, data: bytes, words: str, file: Path
) -> None:
    """Each may be short, or skipped; thousands of them would take seconds."""
    arrays = [
        entry(f"k{n}", ARRAY, struct.pack("<IQ", kind, length) + (data or bytes(8 * length)))
        for n in range(200 if data else 3)
    ]
    with pytest.raises(ModelLoadFailed, match=words):
        read(file, header(*arrays))
