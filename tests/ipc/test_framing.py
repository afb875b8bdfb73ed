"""Frames are read whole or not at all, and never longer than allowed."""

from __future__ import annotations

import asyncio
import io
import socket

import msgspec
import pytest

from edgeinfer.ipc import framing

DECODER = msgspec.msgpack.Decoder(str)
TEXT = "ü" * 100


def test_frame_is_a_length_and_a_message() -> None:
    """The length has four bytes, little-endian."""
    frame = framing.encode(TEXT)
    assert len(frame) - 4 == int.from_bytes(frame[:4], "little")
    assert TEXT == DECODER.decode(frame[4:])


@pytest.mark.parametrize("cut", [0, 1, 4, 6])
async def test_cut_frame_is_the_end(cut: int) -> None:
    """The other side may die while it writes; each of the three readers says that nothing more comes."""
    data = framing.encode(TEXT)[:cut]
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    assert await framing.read(stream, DECODER) is None
    assert framing.read_blocking(io.BytesIO(data), DECODER) is None
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(data)
        assert framing.FrameSocket(theirs, DECODER).receive() is None


async def test_frame_that_is_too_long_is_refused() -> None:
    """Before memory is allocated for it."""
    stream = asyncio.StreamReader()
    stream.feed_data(framing.encode(TEXT))
    with pytest.raises(ValueError, match="a frame of 202 bytes"):
        await framing.read(stream, DECODER, max_frame=201)
    header = framing.HEADER.pack(framing.MAX_FRAME + 1)
    with pytest.raises(ValueError, match="a frame of"):
        framing.read_blocking(io.BytesIO(header), DECODER)


def test_message_that_is_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours is found where it is."""
    monkeypatch.setattr(framing, "MAX_FRAME", 10)
    with pytest.raises(ValueError, match="a frame of 202 bytes"):
        framing.encode(TEXT)


def test_lone_surrogate_cannot_be_encoded() -> None:
    """Callers tell it from other errors."""
    with pytest.raises(UnicodeEncodeError):
        framing.encode("\ud800")
