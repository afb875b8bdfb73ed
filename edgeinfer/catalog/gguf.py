"""Read a GGUF file's header: the metadata, without llama.cpp and without the tensors.

A model file is untrusted: every count and length is checked against what is left of the file before
anything is allocated. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

from edgeinfer.errors import ModelLoadFailed

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MOST_KEYS = 4096
LONGEST_VALUE = 1 << 20
"""Longer strings are skipped: chat templates and the like are llama.cpp's to read."""

Value = int | float | bool | str


class Header(msgspec.Struct, frozen=True):
    """Scalar and short string metadata by key (arrays are skipped), the tensor count, the file's size."""

    metadata: dict[str, Value]
    tensors: int
    size: int

    def number(self, key: str) -> int | None:
        """An architecture's count, such as "block_count"; None where the file lacks a sensible one."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture', '')}.{key}")
        return value if type(value) is int and value > 0 else None


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def take(self, n: int) -> bytes:
        self._spend(n)
        return self._file.read(n)

    def skip(self, n: int) -> None:
        self._spend(n)
        self._file.seek(n, 1)

    def scalar(self, kind: int) -> int | float | bool:
        form = SCALARS.get(kind)
        if form is None:
            raise ValueError(f"unknown value type {kind}")
        value: int | float | bool = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
        return value

    def string(self) -> str | None:
        n = int(self.scalar(10))
        if n > LONGEST_VALUE:
            self.skip(n)
            return None
        return self.take(n).decode("utf-8", "replace")

    def skip_array(self) -> None:
        kind, n = int(self.scalar(4)), int(self.scalar(10))
        if kind == STRING:
            for _ in range(n):
                self.skip(int(self.scalar(10)))
        elif kind in SCALARS:
            self.skip(n * struct.calcsize("<" + SCALARS[kind]))
        else:
            raise ValueError(f"array of type {kind}")

    def _spend(self, n: int) -> None:
        if n > self._left:
            raise ValueError("a length runs past the end of the file")
        self._left -= n


def read_header(path: Path) -> Header:
    """The header of the file at `path`.

    Raises:
        ModelLoadFailed: it can't be read, or is not a sound GGUF file.
    """
    try:
        with path.open("rb") as file:
            return _read(_Reader(file, path.stat().st_size), path.stat().st_size)
    except OSError as e:
        raise ModelLoadFailed(f"{path}: {e.strerror}", param="model") from e
    except (ValueError, struct.error) as e:
        hint = "is the download complete?"
        raise ModelLoadFailed(f"{path} is not a sound GGUF file: {e}", param="model", hint=hint) from e


def _read(reader: _Reader, size: int) -> Header:
    if reader.take(4) != MAGIC:
        raise ValueError("it does not begin with GGUF")
    if (version := int(reader.scalar(4))) not in VERSIONS:
        raise ValueError(f"version {version}")
    tensors, n_keys = int(reader.scalar(10)), int(reader.scalar(10))
    if n_keys > MOST_KEYS:
        raise ValueError(f"{n_keys} metadata keys")
    metadata: dict[str, Value] = {}
    for _ in range(n_keys):
        key = reader.string() or ""
        if key in metadata:
            raise ValueError(f"key {key!r} stands there twice")
        kind = int(reader.scalar(4))
        if kind == ARRAY:
            reader.skip_array()
        elif (value := reader.string() if kind == STRING else reader.scalar(kind)) is not None:
            metadata[key] = value
    return Header(metadata, tensors, size)
