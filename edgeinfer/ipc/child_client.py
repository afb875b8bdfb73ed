"""The daemon's side of a child process that does risky work for it; `child_main` is the inside."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import msgspec

from edgeinfer.errors import EdgeinferError, NotReady, ShuttingDown
from edgeinfer.ipc import framing
from edgeinfer.ipc.child_main import ChildReady
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.environment import child_environment

START_TIMEOUT = 60.0
"""Seconds that a process may take to start: a busy board with a slow card is slow."""

MAX_READY = 1 << 16
"""Bytes of the message that says that a process is ready."""

EXIT_TIMEOUT = 1.0
"""Seconds in which a process that has closed its output should have ended."""

KILLED = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit statuses of a process that was ended by others; a crash of its own has another signal."""

Reply = TypeVar("Reply")
T = TypeVar("T")

_ready: msgspec.msgpack.Decoder[ChildReady] = msgspec.msgpack.Decoder(ChildReady)


class ChildTimeout(Exception):
    """A call exceeded the time limit; the process was killed."""


class ChildCrashed(Exception):
    """The process died twice of the same call, or sent what cannot be decoded.

    `killed`: by a signal from outside, such as the kernel's where memory is short.
    """

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


class ChildClient(Generic[Reply]):
    """Asks one process that runs a module of ours; it is started at the first call and kept.

    Calls take turns. A call that exceeds the time limit fails alone, as does one that crashes two processes: the next
    one gets a fresh process. One crash is no evidence: processes are also killed from outside. A cancelled call does
    not disturb the others.

    Attributes:
        confinement: the layers that hold for the process; None before its first start.
    """

    def __init__(self, module: str, reply: type[Reply], max_frame: int, timeout: float, noun: str) -> None:
        """`timeout` is in seconds; `noun` is what error messages call the process: "template"."""
        self._module = module
        self._decoder = msgspec.msgpack.Decoder(reply)
        self._max_frame = max_frame
        self._timeout = timeout
        self._noun = noun
        self.confinement: Confinement | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._process: Process | None = None
        self._running: asyncio.Task[Any] | None = None

    async def ask(self, request: bytes) -> Reply:
        """The reply to a request, which is a frame.

        Raises:
            ChildTimeout, ChildCrashed: the request is to blame.
            NotReady: the process was killed from outside, twice.
            ShuttingDown: the client was closed.
            EdgeinferError: the process did not start.
        """
        return await self._run(lambda: self._exchange(request))

    async def close(self) -> None:
        """End the process. Calls that run, wait or are yet to come raise ShuttingDown."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._end()

    async def _run(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `job` when it is its turn."""
        await self._lock.acquire()
        if self._closed:
            self._lock.release()
            raise self._shutting_down()
        # From here on it runs to its end even if the caller is cancelled: a reply that is left unread would be taken
        # for the next caller's.
        task = self._running = asyncio.create_task(job())
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _shutting_down(self) -> ShuttingDown:
        return ShuttingDown(f"the {self._noun} process was closed")

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running = None
        self._lock.release()
        if not task.cancelled():
            task.exception()  # retrieved here, since the caller may be gone

    async def start(self) -> None:
        """Start the process before there is a call for it.

        Raises:
            ShuttingDown: the client was closed.
            EdgeinferError: the process did not start.
        """
        await self._run(self._start)

    async def _start(self) -> None:
        try:
            await self._started()
        except asyncio.CancelledError:  # by close
            await self._end()
            raise self._shutting_down() from None

    def rest(self) -> None:
        """End the process, which does nothing now; the next call starts another."""
        if self._process is not None and self._running is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _exchange(self, request: bytes) -> Reply:
        try:
            return await self._try(request)
        except ChildCrashed:
            pass
        try:
            return await self._try(request)
        except ChildCrashed as e:
            if not e.killed:
                raise
            raise NotReady(
                f"the {self._noun} process was killed from outside, twice",
                hint="the machine may be short of memory; try again",
                retry_after=1,
            ) from e

    async def _try(self, request: bytes) -> Reply:
        try:
            process = await self._started()
            return await asyncio.wait_for(self._ask(process, request), self._timeout)
        except asyncio.TimeoutError:
            await self._end()
            raise ChildTimeout from None
        except (EOFError, OSError, ValueError, msgspec.MsgspecError) as e:
            status = await self._status()
            await self._end()
            raise ChildCrashed(str(e), killed=status in KILLED) from e
        except asyncio.CancelledError:  # by close, or by the end of the loop
            await self._end()
            raise self._shutting_down() from None

    async def _status(self) -> int | None:
        """How the process that has failed ended; None if it goes on."""
        if self._process is None:
            return None
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(self._process.wait(), EXIT_TIMEOUT)
        return None

    async def _started(self) -> Process:
        """The process, running and ready."""
        process = self._process
        if process is not None and process.returncode is None and not _stdout(process).at_eof():
            return process
        await self._end()
        try:
            self._process = process = await _spawn(self._module)
            reading = framing.read(_stdout(process), _ready, MAX_READY)
            ready = await asyncio.wait_for(reading, START_TIMEOUT)
            if ready is None:
                raise EOFError("the process ended")
            self.confinement = ready.confinement
        except (EOFError, OSError, ValueError, msgspec.MsgspecError, asyncio.TimeoutError) as e:
            await self._end()
            raise EdgeinferError(
                f"the {self._noun} process did not start",
                hint="see the log for its own words: edgeinfer logs",
            ) from e
        return process

    async def _ask(self, process: Process, request: bytes) -> Reply:
        assert process.stdin is not None
        process.stdin.write(request)
        await process.stdin.drain()
        return await self._read(process)

    async def _read(self, process: Process) -> Reply:
        reply = await framing.read(_stdout(process), self._decoder, self._max_frame)
        if reply is None:
            raise EOFError("the process ended")
        return reply

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # waits for its end, and empties and closes the pipes


async def _spawn(module: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, env=child_environment(), cwd="/"
    )


def _stdout(process: Process) -> asyncio.StreamReader:
    assert process.stdout is not None
    return process.stdout
