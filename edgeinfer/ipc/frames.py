"""Length-prefixed msgpack frames over a stream socket."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Generic, TypeVar

import msgspec

from edgeinfer.backends.llama_cpp.messages import Message, ToDaemon, ToWorker

HEADER = struct.Struct("<I")
LONGEST = 1 << 30
"""Of a frame in bytes. Both ends are ours, so a longer one is a bug, not an attack."""

to_worker = msgspec.msgpack.Decoder(ToWorker)
to_daemon = msgspec.msgpack.Decoder(ToDaemon)

M = TypeVar("M")


def encode(message: Message) -> bytes:
    """One whole frame."""
    body = msgspec.msgpack.encode(message)
    if len(body) > LONGEST:
        raise ValueError(f"a frame of {len(body)} bytes")
    return HEADER.pack(len(body)) + body


async def read(stream: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[M]) -> M | None:
    """The next message, None at the end of the stream. Raises ValueError for what is none."""
    try:
        (length,) = HEADER.unpack(await stream.readexactly(HEADER.size))
        if length > LONGEST:
            raise ValueError(f"a frame of {length} bytes")
        return decoder.decode(await stream.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class FrameSocket(Generic[M]):
    """The blocking end. `send` is thread-safe, `receive` is for one thread."""

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")
        self._decoder = decoder
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises OSError when the other end is gone."""
        frame = encode(message)
        with self._lock:
            self._socket.sendall(frame)

    def receive(self) -> M | None:
        """The next message, None when the other end is gone."""
        try:
            header = self._file.read(HEADER.size)
            if len(header) < HEADER.size:
                return None
            (length,) = HEADER.unpack(header)
            body = self._file.read(length)
        except OSError:
            return None
        return self._decoder.decode(body) if len(body) == length else None
