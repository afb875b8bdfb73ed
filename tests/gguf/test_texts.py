"""Arrays of texts are read as quickly as they can be, whatever is in them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from edgeinfer.gguf.reader import ENOUGH_TEXTS, SINGLE_TEXTS, SPLIT_BYTES, STRING, HeaderReader

MANY = 3 * SINGLE_TEXTS
RANDOM = random.Random(1)


def encoded(texts: list[bytes]) -> bytes:
    return struct.pack("<IQ", STRING, len(texts)) + b"".join(struct.pack("<Q", len(t)) + t for t in texts)


def reader_of(data: bytes, chunk: int) -> HeaderReader:
    return HeaderReader(lambda offset, n: data[offset : offset + n], len(data), chunk)


def plain(n: int) -> list[bytes]:
    """Texts as vocabularies have them."""
    return [b"%d" % i for i in range(n)]


def with_one(odd: bytes, at: int) -> list[bytes]:
    return [*plain(at), odd, *[b"x%d" % i for i in range(MANY - at)]]


TEXTS: dict[str, list[bytes]] = {
    "none": [],
    "one": [b"a"],
    "as many as are sought at once": plain(ENOUGH_TEXTS),
    "many": plain(MANY),
    "many of 255 bytes": [b"%255d" % i for i in range(MANY)],
    "many of 256 bytes": [b"%256d" % i for i in range(MANY)],
    "long and short ones": [b"%*d" % (1 + i % 300, i) for i in range(MANY)],
    "an empty one": with_one(b"", 1000),
    "an empty one first": with_one(b"", 0),
    "an empty one last": with_one(b"", MANY),
    "one that looks like a length": with_one(b"\x05" + b"\0" * 7 + b"xyz", 2000),
    "one of zeros": with_one(b"\0" * 7, 3000),
    "one that begins with zeros": with_one(b"\0" * 9 + b"a", 3000),
    "one that ends with zeros": with_one(b"a" + b"\0" * 9, 3000),
    "one of 64 KiB": with_one(b"a" * SPLIT_BYTES, 3000),
    "anything": list({RANDOM.randbytes(RANDOM.choice((1, 2, 3, 8, 30, 260))) for _ in range(MANY)}),
    "zeros and ones": list({bytes(RANDOM.choices(b"\0\1", k=RANDOM.randrange(1, 40))) for _ in range(MANY)}),
}


@pytest.mark.parametrize("chunk", [16, 1000, 1 << 20])
@pytest.mark.parametrize("kind", TEXTS)
def test_an_array_of_texts_is_passed_over(kind: str, chunk: int) -> None:
    texts = TEXTS[kind]
    reader = reader_of(encoded(texts) + b"next", chunk)
    assert (len(texts), None) == reader.array()
    assert b"next" == reader.take(4)


@pytest.mark.parametrize("chunk", [16, 1000, 1 << 20])
@pytest.mark.parametrize("kind", TEXTS)
def test_distinct_texts_are_read(kind: str, chunk: int) -> None:
    """As llama.cpp reads them: up to the first zero."""
    texts = TEXTS[kind]
    as_read = [text.partition(b"\0")[0] or b"[EMPTY_%d]" % i for i, text in enumerate(texts)]
    reader = reader_of(encoded(texts) + b"next", chunk)
    if len(set(as_read)) < len(texts):
        with pytest.raises(ValueError, match="appears twice"):
            reader.array(distinct=True)
        return
    assert (len(texts), None) == reader.array(distinct=True)
    assert b"next" == reader.take(4)
    assert max(map(len, as_read), default=0) == reader.longest_text
    assert {text for text in as_read if len(text) <= 6} == reader.short_texts


@pytest.mark.parametrize("read", [lambda r: r.array(), lambda r: r.array(distinct=True)])
@pytest.mark.parametrize("cut", [1, 8, 5000])
def test_a_file_that_ends_among_its_texts_is_told(cut: int, read: Callable[[HeaderReader], object]) -> None:
    data = encoded(plain(MANY))
    with pytest.raises(EOFError):
        read(reader_of(data[:-cut], 1 << 20))
