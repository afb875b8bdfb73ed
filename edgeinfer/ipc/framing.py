"""Frames between our processes: a 4-byte little-endian length, then one msgpack message."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

import msgspec

if TYPE_CHECKING:  # children do without it: it takes 4 MB
    import asyncio

HEADER = struct.Struct("<I")

MAX_FRAME = 1 << 30
"""Bytes. Where both ends are ours a longer frame is a bug, not an attack."""

M = TypeVar("M")


def encode(message: object) -> bytes:
    """A whole frame.

    Raises:
        ValueError: it would be too long, or (UnicodeEncodeError) a text has a lone surrogate.
        RecursionError: the message is nested too deeply.
    """
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_FRAME:
        raise ValueError(f"a frame of {len(body)} bytes")
    return HEADER.pack(len(body)) + body


async def read(
    stream: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[M], max_frame: int = MAX_FRAME
) -> M | None:
    """The next message, None at the end of the stream. Raises ValueError for a frame that is too long."""
    try:
        length = _length(await stream.readexactly(HEADER.size), max_frame)
        return decoder.decode(await stream.readexactly(length))
    except (EOFError, ConnectionError):
        return None


def read_blocking(file: BinaryIO, decoder: msgspec.msgpack.Decoder[M]) -> M | None:
    """The next message, None at the end of the file. Raises ValueError for a frame that is too long."""
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length = _length(header, MAX_FRAME)
    body = file.read(length)
    return decoder.decode(body) if len(body) == length else None


def _length(header: bytes, max_frame: int) -> int:
    length: int = HEADER.unpack(header)[0]
    if length > max_frame:
        raise ValueError(f"a frame of {length} bytes")
    return length


class FrameSocket(Generic[M]):
    """Sends and receives frames on a blocking socket. `send` is thread-safe, `receive` is for one thread."""

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")
        self._decoder = decoder
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Raises OSError when the other end is gone."""
        frame = encode(message)
        with self._lock:
            self._socket.sendall(frame)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def receive(self) -> M | None:
        """The next message, None when the other end is gone."""
        try:
            return read_blocking(self._file, self._decoder)
        except OSError:
            return None
