"""The daemon's end of one worker process, from its birth to its death."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Sequence

from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.output import EngineStats
from edgeinfer.errors import EdgeinferError, NotReady, WorkerDied, revive
from edgeinfer.worker import frames
from edgeinfer.worker.messages import (
    Cancel,
    Failed,
    Load,
    LogLine,
    Message,
    ModelInfo,
    Ready,
    Shutdown,
    Step,
    ToDaemon,
)

log = logging.getLogger("edgeinfer.worker")

ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # else an abort attaches a debugger to the dying worker
    "GOMP_SPINCOUNT": "10000",  # OpenMP's barrier must not spin while another process wants the core
    "OPENBLAS_NUM_THREADS": "1",  # numpy computes little here, and llama.cpp has the cores
    "PYTHONUNBUFFERED": "1",
}
CAUSE = re.compile(r"GGML_ASSERT|GGML_ABORT|ggml_abort|what\(\):|Fatal Python error|[Ee]rror")
"""In a line of stderr that says why the process dies; stacks follow it."""

LONGEST_LINE = 4096


class Worker:
    """A running worker process. Alive is not ready: it is ready once the model has passed its self-test."""

    def __init__(self, config: EngineConfig, markers: Sequence[str] = ()) -> None:
        self.config = config
        self._markers = tuple(markers)
        self.info: ModelInfo | None = None
        self.stats = EngineStats()
        self.load_seconds = 0.0
        self.death: str | None = None
        """Why it died, in words; None while it lives."""
        self._replies: dict[int, asyncio.Queue[ToDaemon | WorkerDied]] = {}
        self._loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        self._last_words = ""
        self._next_id = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> None:
        """Spawn the process and tell it what to load."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "edgeinfer.worker.process",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={**ENVIRONMENT, **os.environ},
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._tasks = [asyncio.create_task(self._read_stderr()), asyncio.create_task(self._read_messages())]
        self.send(Load(self.config, self._markers))

    async def loaded(self, timeout: float) -> ModelInfo:
        """Wait for the model; raises what the worker says against it, NotReady after `timeout` seconds."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._loaded), timeout)
        except asyncio.TimeoutError:
            raise NotReady(
                f"the model was not loaded within {timeout:g} s", hint="raise --load-timeout"
            ) from None

    async def wait(self) -> str:
        """Wait for its death; -> why it died."""
        # Shielded: whoever stops waiting must not stop the reading.
        await asyncio.shield(asyncio.gather(*self._tasks))
        return self.death or "ended"

    async def stop(self, timeout: float = 5.0) -> None:
        """Ask it to end; kill it if it does not within `timeout` seconds."""
        self.send(Shutdown())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout)
        if self._process.returncode is None:
            self._process.kill()
        await self.wait()

    def send(self, message: Message) -> None:
        if self.death is None and not self._writer.is_closing():
            self._writer.write(frames.encode(message))

    async def exchange(self, make: Callable[[int], Message]) -> AsyncGenerator[ToDaemon, None]:
        """Send the message that `make` makes of a fresh id; -> its replies, without end.

        Closing the iterator cancels the request. Raises the error that the worker answers with, and
        WorkerDied when it dies.
        """
        self._next_id += 1
        id = self._next_id
        replies = self._replies[id] = asyncio.Queue()
        if self.death is not None:
            replies.put_nowait(_died(self.death))
        try:
            self.send(make(id))
            while True:
                match reply := await replies.get():
                    case WorkerDied():
                        raise reply
                    case Failed():
                        raise revive(reply.error)
                    case _:
                        yield reply
        finally:
            del self._replies[id]
            self.send(Cancel(id))

    async def _read_messages(self) -> None:
        while (message := await frames.read(self._reader, frames.to_daemon)) is not None:
            self._dispatch(message)
        self._writer.close()
        await self._bury(await self._process.wait())

    def _dispatch(self, message: ToDaemon) -> None:
        match message:
            case Step():
                self.stats = message.stats
                for id, deltas in _by_request(message).items():
                    self._reply(id, deltas)
            case LogLine():
                logging.getLogger(message.logger).log(message.level, message.text)
            case Ready():
                self.info, self.load_seconds = message.info, message.load_seconds
                self._loaded.set_result(message.info)
            case Failed(id=0):
                self._fail_load(revive(message.error))
            case _:
                self._reply(message.id, message)

    def _reply(self, id: int, message: ToDaemon) -> None:
        if id in self._replies:  # else it was cancelled meanwhile
            self._replies[id].put_nowait(message)

    def _fail_load(self, error: EdgeinferError) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(error)
            self._loaded.exception()  # it need not be awaited by anybody

    async def _bury(self, status: int) -> None:
        await self._tasks[0]  # the rest of stderr
        self.death = _cause(status, self._last_words)
        self._fail_load(_died(self.death))
        for replies in self._replies.values():
            replies.put_nowait(_died(self.death))

    async def _read_stderr(self) -> None:
        """What a native crash has to say: llama.cpp's assertion, Python's stack."""
        assert self._process.stderr is not None
        rest = b""
        while data := await self._process.stderr.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(line)
            if len(rest) > LONGEST_LINE:
                self._hear(rest)
                rest = b""
        if rest:
            self._hear(rest)

    def _hear(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if not self._last_words and CAUSE.search(text):
            self._last_words = text
        log.warning("stderr: %s", text)


def _by_request(step: Step) -> dict[int, Step]:
    """A step's deltas, told apart by request."""
    found: dict[int, Step] = {}
    for delta in step.deltas:
        found.setdefault(delta.id, Step([], step.stats)).deltas.append(delta)
    return found


def _died(death: str) -> WorkerDied:
    return WorkerDied(f"the worker died: {death}", hint="it is being restarted: try again")


def _cause(status: int, last_words: str) -> str:
    """A worker's exit in words."""
    how = f"exit status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-status).name
    return f"{how}: {last_words}" if last_words else how
