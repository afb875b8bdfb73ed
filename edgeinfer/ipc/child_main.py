"""The inside of a child process that does a risky thing for the daemon; `child` is the daemon's end.

It speaks frames over its standard streams: a 4-byte little-endian length and then one msgpack message. It
says one message once it is ready, and from then on answers each request with one.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeVar

import msgspec

HEADER = struct.Struct("<I")


class Request(Protocol):
    """What a process is asked. A struct with a time limit in seconds."""

    @property
    def limit(self) -> float: ...


Asked = TypeVar("Asked", bound=Request)
Message = TypeVar("Message")


def frame(message: object) -> bytes:
    """Raises UnicodeEncodeError for a lone surrogate, RecursionError for too deep a nesting."""
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(len(body)) + body


def read(stream: BinaryIO, kind: type[Message]) -> Message | None:
    """The next request, None at the end."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = stream.read(length)
    return msgspec.msgpack.decode(body, type=kind) if len(body) == length else None


def write(stream: BinaryIO, message: object) -> None:
    stream.write(frame(message))
    stream.flush()


def confine(memory: int) -> None:
    """Bound memory; no core dump, no file written, no process started. What a system lacks is left out."""
    limits = {"RLIMIT_AS": memory, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0}
    for name, limit in limits.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (limit, limit))


def serve(kind: type[Asked], answer: Callable[[Asked], object], ready: object) -> None:
    """Say `ready`, then answer requests of `kind` to the end of standard input, hence of the daemon."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group; the daemon still drains
    write(sys.stdout.buffer, ready)
    while request := read(sys.stdin.buffer, kind):
        # The daemon kills us long before this alarm does; it is for the case that the daemon was killed.
        signal.setitimer(signal.ITIMER_REAL, 2 * request.limit + 1)
        write(sys.stdout.buffer, answer(request))
        signal.setitimer(signal.ITIMER_REAL, 0)
