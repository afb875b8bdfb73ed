"""GGUF headers byte by byte, sound and broken ones."""

from __future__ import annotations

import struct
from pathlib import Path

from edgeinfer.gguf.header import Header, read_header

MB = 1024**2
STRING, ARRAY, UINT32 = 8, 9, 4
FLOAT32, INT64, FLOAT64 = 6, 11, 12
F32, Q8_0 = 0, 8


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def count(key: str, value: int) -> bytes:
    return entry(key, UINT32, struct.pack("<I", value))


NEEDED = (
    entry("general.architecture", STRING, text("a")),
    count("a.block_count", 2),
    count("a.context_length", 256),
    count("a.embedding_length", 64),
)
"""What each model's header has."""


def raw(*entries: bytes, keys: int | None = None, version: int = 3, tensors: int = 0) -> bytes:
    """A GGUF header of these entries alone, true to the format unless told otherwise."""
    n = len(entries) if keys is None else keys
    return b"GGUF" + struct.pack("<IQQ", version, tensors, n) + b"".join(entries)


def header(*entries: bytes, tensors: int = 0) -> bytes:
    """A header of a model with these entries too."""
    return raw(*NEEDED, *entries, tensors=tensors)


def tensor(
    name: str | bytes = "t",
    shape: tuple[int, ...] = (64,),
    kind: int = F32,
    offset: int = 0,
    dims: int | None = None,
) -> bytes:
    n = len(shape) if dims is None else dims
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", n, *shape, kind, offset)


def model(*tensors: bytes, entries: tuple[bytes, ...] = (), data: int = 4096) -> bytes:
    """A file with these tensors, and so many bytes of data."""
    start = header(*entries, tensors=len(tensors)) + b"".join(tensors)
    return start + bytes(-len(start) % 32) + bytes(data)


def read(path: Path, data: bytes) -> Header:
    path.write_bytes(data)
    return read_header(path)
