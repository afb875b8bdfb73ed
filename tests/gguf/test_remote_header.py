"""Reading the header of a file through a server's ranges."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.header import read_header, read_remote_header
from tests.support.gguf_bytes import ARRAY, MB, STRING, UINT32, count, entry, header, text


class Server:
    """Gives ranges of a file, and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert 0 < length <= len(self.data) - offset
        self.ranges.append((offset, length))
        return self.data[offset : offset + length]

    @property
    def bytes(self) -> int:
        return sum(length for _, length in self.ranges)


def vocabulary(n: int) -> tuple[bytes, ...]:
    """As Qwen's 151,936 tokens and their merges are in size."""
    tokens = b"".join(text(b"%07d" % i) for i in range(n))
    types = struct.pack(f"<{n}I", *[1] * n)
    return (
        entry("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, n) + tokens),
        entry("tokenizer.ggml.token_type", ARRAY, struct.pack("<IQ", UINT32, n) + types),
        entry("tokenizer.ggml.merges", ARRAY, struct.pack("<IQ", STRING, n) + tokens),
    )


@pytest.fixture(scope="module")
def large() -> bytes:
    return header(*vocabulary(150_000), count("a.last", 7)) + bytes(20 * MB)


def test_a_remote_header_is_the_local_one(model_file: Path) -> None:
    """A small one comes in one range."""
    server = Server(model_file.read_bytes())
    assert read_header(model_file) == read_remote_header(server, len(server.data))
    assert [(0, MB)] == server.ranges


def test_a_large_vocabulary_comes_in_few_ranges_and_once(large: bytes) -> None:
    """Each larger than the one before; what is only passed over need not come at all."""
    server = Server(large)
    remote = read_remote_header(server, len(large))
    assert (150_000, 7) == (remote.vocabulary, remote.number("last"))
    assert len(server.ranges) <= 4
    assert server.bytes < 10 * MB
    ends = [0, *(offset + length for offset, length in server.ranges)]
    assert all(end <= offset for end, (offset, _) in zip(ends, server.ranges, strict=False))


def test_a_long_array_of_numbers_is_not_fetched() -> None:
    """The ranges go on behind it."""
    data = entry("b", ARRAY, struct.pack("<IQ", UINT32, 2_500_000) + bytes(10_000_000))
    server = Server(header(data, count("a.last", 7)))
    assert 7 == read_remote_header(server, len(server.data)).number("last")
    assert server.bytes <= 2 * MB


def test_a_server_that_gives_more_than_was_asked_for_is_read_all_the_same(model_file: Path) -> None:
    """Some answer a range with the whole file."""
    data = model_file.read_bytes()
    remote = read_remote_header(lambda offset, _: data[offset:], len(data))
    assert read_header(model_file) == remote


def test_a_server_that_gives_less_is_told(model_file: Path) -> None:
    """By the name that the caller has for the file."""
    data = model_file.read_bytes()
    with pytest.raises(
        ModelLoadFailed, match="nano-Q8_0 is not a valid GGUF file: it ends after 1000 of"
    ) as e:
        read_remote_header(lambda offset, _: data[offset:1000], len(data), "nano-Q8_0")
    assert "is the download complete?" == e.value.hint


def test_a_server_that_fails_is_the_callers_affair() -> None:
    """Its error is passed on."""

    def fetch(offset: int, length: int) -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        read_remote_header(fetch, 100)
