from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.catalog.gguf import Header, read_header
from edgeinfer.errors import ModelLoadFailed

MB = 1024**2
STRING, ARRAY, UINT32 = 8, 9, 4
FLOAT32, INT64, FLOAT64 = 6, 11, 12


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def header(*entries: bytes, keys: int | None = None, version: int = 3, tensors: int = 0) -> bytes:
    """A GGUF header of these entries, true to the format unless told otherwise."""
    count = len(entries) if keys is None else keys
    return b"GGUF" + struct.pack("<IQQ", version, tensors, count) + b"".join(entries)


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def read(path: Path, data: bytes) -> Header:
    path.write_bytes(data)
    return read_header(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_the_header_of_a_real_model_is_read(model_file: Path) -> None:
    """As the gguf package reads it."""
    found, reader = read_header(model_file), gguf.GGUFReader(model_file)
    architecture = found.metadata["general.architecture"]
    assert model_file.stat().st_size == found.size
    assert len(reader.tensors) == found.tensors
    for key in ("block_count", "context_length", "embedding_length", "attention.head_count"):
        field = reader.fields[f"{architecture}.{key}"]
        assert field.contents() == found.number(key)


def test_every_kind_of_value_is_read(file: Path) -> None:
    """Numbers of all widths, booleans, texts; arrays are passed over."""
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
    writer.add_array("test.numbers", [1, 2, 3])
    writer.add_array("test.texts", ["a", "", "ö" * 100])
    writer.add_uint32("test.last", 7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = read_header(file)
    assert values == {kind: found.metadata[f"test.{kind}"] for kind in values}
    assert 7 == found.number("last")
    assert not {"test.numbers", "test.texts"} & found.metadata.keys()


def test_a_number_that_is_not_there_is_none(file: Path) -> None:
    """Nor is a text a number."""
    found = read(
        file, header(entry("general.architecture", STRING, text("a")), entry("a.b", STRING, text("5")))
    )
    assert (None, None) == (found.number("none"), found.number("b"))


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
    found = read(
        file, header(entry("general.architecture", STRING, text("a")), entry("a.block_count", kind, value))
    )
    assert "a.block_count" in found.metadata
    assert found.number("block_count") is None


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """In the system's words."""
    with pytest.raises(ModelLoadFailed, match="No such file"):
        read_header(tmp_path / "none.gguf")


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    """It exists, which is not enough."""
    with pytest.raises(ModelLoadFailed):
        read_header(tmp_path)


HUGE = struct.pack("<Q", 2**64 - 1)
NUMBER = struct.pack("<I", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGU",
        b"GGUF",
        b"GGML" + header()[4:],
        b"<html>404 Not Found</html>",
        header(version=1),
        header(version=4),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        header(keys=1),
        header(keys=2**64 - 1),
        header(keys=5000),
        header(HUGE + b"key", keys=1),
        header(entry("a", 13, NUMBER)),
        header(entry("a", 2**32 - 1, NUMBER)),
        header(entry("a", STRING, HUGE)),
        header(entry("a", STRING, struct.pack("<Q", 2**40) + b"x" * 100)),
        header(entry("a", ARRAY, struct.pack("<I", UINT32) + HUGE)),
        header(entry("a", ARRAY, struct.pack("<I", UINT32) + struct.pack("<Q", 2**62))),
        header(entry("a", ARRAY, struct.pack("<I", STRING) + HUGE)),
        header(entry("a", ARRAY, struct.pack("<I", STRING) + struct.pack("<Q", 1) + HUGE)),
        header(entry("a", ARRAY, struct.pack("<I", 77) + struct.pack("<Q", 1))),
        header(entry("a", UINT32, NUMBER), entry("a", UINT32, NUMBER)),
        header(entry("a", UINT32, b"\x01")),
    ],
    ids=lambda data: repr(data[-40:]),
)
def test_a_broken_header_is_refused_and_costs_nothing(data: bytes, file: Path) -> None:
    """Whatever counts and lengths it claims, nothing is allocated for them."""
    file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(ModelLoadFailed) as error:
        read_header(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MB
    assert "model" == error.value.param
    assert str(file) in error.value.message


def test_a_long_text_is_passed_over(file: Path) -> None:
    """A template of megabytes is llama.cpp's to read."""
    found = read(file, header(entry("a", STRING, text("x" * 2 * MB)), entry("b", STRING, text("y"))))
    assert {"b": "y"} == found.metadata


def test_a_text_that_is_no_utf8_is_read_all_the_same(file: Path) -> None:
    """What is broken in it is replaced."""
    assert {"a": "x\ufffd"} == read(file, header(entry("a", STRING, text(b"x\xff")))).metadata


@pytest.mark.parametrize("kept", [3, 10, 24, 100, 1000, 3000])
def test_a_download_that_broke_off_is_refused(kept: int, file: Path, model_file: Path) -> None:
    """Anywhere in the header."""
    with pytest.raises(ModelLoadFailed):
        read(file, model_file.read_bytes()[:kept])


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_changed_in_a_header_it_is_read_or_refused(
    data: st.DataObject, file: Path, model_file: Path
) -> None:
    """The first 4 KB of a real one, with bytes replaced, cut out and put in."""
    with model_file.open("rb") as source:
        found = bytearray(source.read(4096))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 1024) | st.integers(0, len(found)))
        n = data.draw(st.integers(0, 8))
        put = data.draw(st.sampled_from([b"\xff" * 8, b"\x00" * 8, b"\x7f"]) | st.binary(max_size=8))
        found[at : at + n] = put
    whole = bytes(found) + bytes(data.draw(st.sampled_from([0, 64 * 1024])))
    tracemalloc.start()
    try:
        read(file, whole)
    except ModelLoadFailed:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * MB


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_behind_the_magic_are_read_or_refused(file: Path, data: bytes) -> None:
    """Never anything else."""
    try:
        found = read(file, b"GGUF" + struct.pack("<I", 3) + data)
    except ModelLoadFailed:
        return
    assert isinstance(found, Header)
