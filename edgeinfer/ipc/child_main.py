"""The inside of a child process that does risky work for the daemon; `child_client` is the daemon's side.

It speaks frames over its standard streams: one message once it is ready, then one reply to each request.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from edgeinfer.ipc import framing
from edgeinfer.ipc.confinement.confinement import Confinement, confine_process


class ChildRequest(Protocol):
    """A struct with a time limit in seconds."""

    @property
    def limit(self) -> float: ...


R = TypeVar("R", bound=ChildRequest)


class ChildReady(msgspec.Struct, frozen=True):
    """The first message of a process, which names the layers that confine it."""

    confinement: Confinement


def limit_resources(memory: int) -> None:
    """Limit memory, and forbid core dumps, writing files and starting processes, as far as the system can."""
    limits = {"RLIMIT_AS": memory, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0}
    for name, limit in limits.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (limit, limit))


def serve(kind: type[R], answer: Callable[[R], object]) -> None:
    """Give up all files and the network, then answer requests until standard input ends, as it does with the daemon.

    All modules must have been imported.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group; the daemon still drains
    decoder = msgspec.msgpack.Decoder(kind)
    _send(ChildReady(confine_process()))
    while request := framing.read_blocking(sys.stdin.buffer, decoder):
        # The daemon kills us long before this alarm does; it is for the case that the daemon was killed.
        signal.setitimer(signal.ITIMER_REAL, 2 * request.limit + 1)
        _send(answer(request))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _send(message: object) -> None:
    sys.stdout.buffer.write(framing.encode(message))
    sys.stdout.buffer.flush()
