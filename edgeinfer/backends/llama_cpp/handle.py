"""The daemon's end of one worker process, from its birth to its death."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Sequence

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.heartbeat import Heartbeat
from edgeinfer.backends.llama_cpp.in_flight import Asked
from edgeinfer.backends.llama_cpp.messages import (
    Cancel,
    Failed,
    Load,
    LogLine,
    Message,
    Ping,
    Pong,
    Queued,
    Ready,
    Shelf,
    Shutdown,
    Step,
    ToDaemon,
    Working,
)
from edgeinfer.backends.llama_cpp.quarantine import Suspects
from edgeinfer.backends.llama_cpp.spawn import spawn
from edgeinfer.backends.llama_cpp.stderr_tail import LastWords
from edgeinfer.backends.llama_cpp.waiting import within
from edgeinfer.backends.llama_cpp.worker_exit import Death, oom_kills
from edgeinfer.errors import EdgeinferError, NotReady, WorkerDied, revive
from edgeinfer.gguf.file_identity import file_identity
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import Embeddings, ModelInfo
from edgeinfer.ipc import frames

log = logging.getLogger("edgeinfer.worker")

HANG_TIMEOUT = 60.0
STOPPED = "stopped"
STOP = 5.0
"""Seconds that a worker may take to end."""

SAVING = 10.0
"""The same for what it keeps on disk."""


class Worker:
    """A running worker process. Alive is not ready: it is ready once the model has passed its self-test.

    `suspects` is told of what it was at work on when it died, and of those that it brought further since.
    """

    def __init__(
        self,
        config: LlamaConfig,
        markers: Sequence[str] = (),
        hang_timeout: float = HANG_TIMEOUT,
        suspects: Suspects | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.config = config
        self.heartbeat = Heartbeat(hang_timeout)
        self.info: ModelInfo | None = None
        self.stats = EngineStats()
        self.load_seconds = 0.0
        self.file = file_identity(config.model)
        self.useful = False
        """It has answered something."""
        self.death: Death | None = None
        self.idle = asyncio.Event()
        """Set while nothing is asked of it."""
        self.idle.set()
        self._markers = tuple(markers)
        self._suspects = suspects or Suspects()
        self._shelf = shelf
        self._asked: dict[int, Asked] = {}
        self._replies: dict[int, asyncio.Queue[ToDaemon | WorkerDied]] = {}
        self._unread: set[int] = set()  # requests that are not known to wait in the engine
        self._working: frozenset[int] = frozenset()
        self._loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        self._last_words = LastWords()
        self._verdict: str | None = None
        self._oom_kills = oom_kills()
        self._next_id = 0
        self._starting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._pulse: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> None:
        """Spawn the process and tell it what to load. Raises OSError."""
        # A spawn runs to its end whatever becomes of the caller, or nobody would know the process.
        self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        self._process, ours = await spawn()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        assert self._process.stderr is not None
        listening = asyncio.create_task(self._last_words.listen(self._process.stderr))
        self._tasks = [listening, asyncio.create_task(self._read_messages())]
        self.send(Load(self.config, self._markers, self._shelf))

    async def loaded(self, timeout: float) -> ModelInfo:
        """Wait for the model; raises what the worker says against it, NotReady after `timeout` seconds."""
        await asyncio.wait([self._loaded], timeout=timeout)
        if not self._loaded.done():
            raise NotReady(f"the model was not loaded within {timeout:g} s", hint="raise --load-timeout")
        return self._loaded.result()

    async def wait(self) -> Death:
        """Wait for its end."""
        # Shielded: whoever stops waiting must not stop the reading.
        await asyncio.shield(asyncio.gather(*self._tasks))
        assert self.death is not None
        return self.death

    async def stop(self) -> None:
        """Ask it to end; kill it if it does not soon, or has nothing to tidy up yet."""
        if self._starting is None:
            return
        await asyncio.wait([self._starting])
        if self._starting.cancelled() or self._starting.exception():
            return
        self._verdict = self._verdict or STOPPED
        if self.info is not None:
            self.send(Shutdown())
            await within(STOP + (SAVING if self._shelf else 0), self._process.wait())
        self._kill()
        await self.wait()

    def kill(self, verdict: str) -> None:
        """End it at once; `verdict` says why."""
        self._verdict = self._verdict or verdict
        self._kill()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def send(self, message: Message) -> None:
        if self.death is None and not self._writer.is_closing():
            self._writer.write(frames.encode(message))

    async def exchange(self, asked: Asked) -> AsyncGenerator[ToDaemon, None]:
        """Ask; -> the replies, without end.

        Closing the iterator cancels the request. Raises the error that the worker answers with, and
        WorkerDied when it dies.
        """
        self._next_id += 1
        id = self._next_id
        replies = self._replies[id] = asyncio.Queue()
        self._asked[id] = asked
        self._unread.add(id)
        self.idle.clear()
        if self.death is not None:
            replies.put_nowait(died(self.death))
        try:
            self.send(asked.message(id))
            while True:
                match reply := await replies.get():
                    case WorkerDied():
                        raise reply
                    case Failed():
                        raise revive(reply.error)
                    case _:
                        yield reply
        finally:
            del self._replies[id], self._asked[id]
            self._unread.discard(id)
            self.send(Cancel(id))
            if not self._asked:
                self.idle.set()

    async def _read_messages(self) -> None:
        try:
            while (message := await frames.read(self._reader, frames.to_daemon)) is not None:
                self._dispatch(message)
        except Exception as e:  # its memory may be broken, and with it what it sends
            log.exception("a message from the worker")
            self.kill(f"it sent what cannot be understood: {e}")
        self._writer.close()
        await self._bury(await self._process.wait())

    def _dispatch(self, message: ToDaemon) -> None:
        match message:
            case Step():
                self.stats = message.stats
                self.heartbeat.heard(message.stats.step_ms)
                for id, deltas in _by_request(message).items():
                    self._advance(id)
                    self._reply(id, deltas)
            case Working():
                self._working = frozenset(message.ids)
            case Queued():
                self._unread.discard(message.id)
            case Pong():
                self.heartbeat.answered()
            case LogLine():
                logging.getLogger(message.logger).log(message.level, message.text)
            case Ready():
                self.info, self.load_seconds = message.info, message.load_seconds
                self.heartbeat.heard(message.step_ms)
                self._pulse = asyncio.create_task(self._feel_pulse())
                self._loaded.set_result(message.info)
            case Failed(id=0):
                self._fail_load(revive(message.error))
            case _:
                if isinstance(message, Embeddings):
                    self.heartbeat.heard()
                self._reply(message.id, message)

    def _reply(self, id: int, message: ToDaemon) -> None:
        if id in self._replies:  # else it was cancelled meanwhile
            self._replies[id].put_nowait(message)

    def _advance(self, id: int) -> None:
        self.useful = True
        asked = self._asked.get(id)
        if asked is not None and asked.troubled:
            self._suspects.clear(asked)

    def _fail_load(self, error: EdgeinferError) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(error)
            self._loaded.exception()  # it need not be awaited by anybody

    async def _bury(self, status: int) -> None:
        await self._tasks[0]  # the rest of stderr
        if self._pulse:
            self._pulse.cancel()
        self.death = Death(status, self._last_words.cause, self._verdict, self._killed_for_memory(status))
        if self._verdict != STOPPED:
            at_work = self._unread | self._working
            self._suspects.died([self._asked[id] for id in self._asked if id in at_work], str(self.death))
        self._fail_load(died(self.death))
        for replies in self._replies.values():
            replies.put_nowait(died(self.death))

    def _killed_for_memory(self, status: int) -> bool:
        if status != -signal.SIGKILL or self._verdict:
            return False
        now = oom_kills()
        if now is None or self._oom_kills is None:  # then only while it loads: nobody else kills it there
            return self.info is None
        return now > self._oom_kills

    async def _feel_pulse(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat.period)
            if self.heartbeat.tick():
                self._oom_kills = oom_kills()
                self.send(Ping())
            elif self.heartbeat.hung:
                self.kill(f"it hung: its engine was silent for {self.heartbeat.silence:.0f} s")


def died(death: Death) -> WorkerDied:
    return WorkerDied(f"the worker died: {death}", hint="it is being restarted: try again")


def _by_request(step: Step) -> dict[int, Step]:
    """A step's deltas, told apart by request."""
    found: dict[int, Step] = {}
    for delta in step.deltas:
        found.setdefault(delta.id, Step([], step.stats)).deltas.append(delta)
    return found
