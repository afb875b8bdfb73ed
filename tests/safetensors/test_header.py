"""A safetensors file is checked before anything else opens it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.safetensors.header import MAX_HEADER_BYTES, read_safetensors

GOOD = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}


def written(path: Path, header: Any, data: bytes = bytes(24), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def tensor(begin: int, end: int, *, dtype: str = "F32", shape: Any = (2, 3)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_tensors_are_listed_in_the_order_of_their_data(tmp_path: Path) -> None:
    """Whatever the order of the header."""
    header = {"b": tensor(24, 48), "__metadata__": {"format": "pt"}, "a": tensor(0, 24)}
    found = read_safetensors(written(tmp_path / "m", header, bytes(48)))
    assert ["a", "b"] == [t.name for t in found.tensors]
    assert (6, 24) == (found.tensors[0].count, found.tensors[0].nbytes)


@pytest.mark.parametrize(
    ("header", "data", "length", "problem"),
    [
        (GOOD, bytes(23), None, "it is not complete"),
        (GOOD, bytes(25), None, "bytes follow its tensors"),
        (GOOD, b"", 1 << 62, "no real file more than"),
        (GOOD, b"", MAX_HEADER_BYTES, "it is not complete"),
        (b"{", bytes(24), None, "is not JSON"),
        (b'{"a":' * 100_000, bytes(24), None, "is not JSON"),
        (b"[]", bytes(24), None, "is not JSON"),
        ({}, b"", None, "it has no tensors"),
        ({"a": tensor(0, 24), "b": tensor(12, 36)}, bytes(36), None, "overlaps"),
        ({"a": tensor(0, 24), "b": tensor(0, 24)}, bytes(24), None, "overlaps"),
        ({"a": tensor(0, 24), "b": tensor(32, 56)}, bytes(56), None, "leaves a gap"),
        ({"a": tensor(0, 20)}, bytes(20), None, "its shape needs 24"),
        ({"a": tensor(24, 0)}, bytes(24), None, "its shape needs 24"),
        ({"a": tensor(0, 24, dtype="PICKLE")}, bytes(24), None, "unknown type"),
        ({"a": tensor(0, 24, shape=(-2, -3))}, bytes(24), None, "Expected `int` >= 0"),
        ({"a": tensor(0, 24, shape=(1 << 60, 1 << 60))}, bytes(24), None, "Expected `int` <= "),
        ({"a": tensor(0, 24, shape=[1] * 9)}, bytes(24), None, "length <= 8"),
        ({"a": {"dtype": "F32"}}, bytes(24), None, "missing required field"),
        ({"a": 1}, bytes(24), None, "Expected `object`"),
    ],
)
def test_what_is_wrong_is_named(
    header: Any, data: bytes, length: int | None, problem: str, tmp_path: Path
) -> None:
    """And nothing of it is allocated."""
    with pytest.raises(ModelLoadFailed) as error:
        read_safetensors(written(tmp_path / "m.safetensors", header, data, length))
    assert "m.safetensors is not a sound safetensors file" in error.value.message
    assert problem in error.value.message


def test_a_file_that_is_too_short_or_missing_is_named(tmp_path: Path) -> None:
    """An empty one as well."""
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ModelLoadFailed, match="it has 0 bytes"):
        read_safetensors(tmp_path / "empty")
    with pytest.raises(ModelLoadFailed, match="cannot be read"):
        read_safetensors(tmp_path / "missing")
