"""The daemon's side of one worker process, from spawn to exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.exchange import Exchange
from edgeinfer.backends.llama_cpp.first_load import FirstLoad, remember_first_load
from edgeinfer.backends.llama_cpp.in_flight import WorkerRequest
from edgeinfer.backends.llama_cpp.inherited_memory import InheritedMemory
from edgeinfer.backends.llama_cpp.messages import (
    Accepted,
    Cancel,
    Embedded,
    Failed,
    InFlight,
    Load,
    LoadProgress,
    LogLine,
    OnlyReply,
    Ping,
    Pong,
    PrefixCacheConfig,
    Ready,
    Reranked,
    Shutdown,
    Step,
    ToDaemon,
    WorkerMessage,
    to_daemon,
)
from edgeinfer.backends.llama_cpp.spawn import spawn
from edgeinfer.backends.llama_cpp.stderr_tail import StderrTail
from edgeinfer.backends.supervision.heartbeat import Heartbeat
from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.backends.supervision.worker import STOPPED, died
from edgeinfer.backends.supervision.worker_exit import WorkerExit, first_fault, oom_kills, without_directories
from edgeinfer.errors import EdgeinferError, NotReady, revive
from edgeinfer.gguf.file_identity import file_identity
from edgeinfer.inference.output import Delta, EngineStats
from edgeinfer.inference.types import EngineBuild, ModelInfo
from edgeinfer.ipc import framing
from edgeinfer.ipc.confinement.confinement import Confinement

log = logging.getLogger("edgeinfer.worker")

HANG_TIMEOUT = 60.0

STOP_TIMEOUT = 5.0
"""Seconds that a worker may take to end."""

SAVE_TIMEOUT = 10.0
"""Seconds that it may take beyond that to save its prefix cache."""


class WorkerHandle:
    """A running worker process. Alive is not ready: it is ready once the model has passed its self-test.

    Attributes:
        revision: identity of the model file when the worker was started.
        useful: the worker has answered something.
        confinement: the layers that hold for it; None until it is ready.
        load_progress: the share of the model that it has read; None if that is unknown, or it is ready.
        build: the library that computes; None until it is ready, or if it runs the fake model.
        exit: how the process ended; None while it runs.
        idle: set while no request is in flight.
    """

    def __init__(
        self,
        config: LlamaConfig,
        markers: Sequence[str] = (),
        hang_timeout: float = HANG_TIMEOUT,
        quarantine: CrashQuarantine | None = None,
        prefix_cache: PrefixCacheConfig | None = None,
        *,
        confine: bool = True,
        memory: InheritedMemory | None = None,
    ) -> None:
        """`quarantine` is told which requests were in flight in a crash, and which have made progress since.

        `memory` has what the worker before has left.
        """
        self.config = config
        self.heartbeat = Heartbeat(hang_timeout)
        self.info: ModelInfo | None = None
        self.stats = EngineStats()
        self.load_seconds = 0.0
        self.load_progress: float | None = None
        self.confinement: Confinement | None = None
        self.build: EngineBuild | None = None
        self.revision = file_identity(config.model).revision
        self.useful = False
        self.exit: WorkerExit | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self._quarantine = quarantine or CrashQuarantine()
        self._load = Load(config, tuple(markers), prefix_cache, confine)
        self._record: Path | None = None
        self._first_load: FirstLoad | None = None
        self._memory = memory
        self._exchanges: dict[int, Exchange] = {}
        self._unaccepted: set[int] = set()  # requests that the worker may not have read yet, or is reading
        self._computing: frozenset[int] = frozenset()  # requests that the engine may be at work on
        self._loaded: asyncio.Future[ModelInfo] = asyncio.get_running_loop().create_future()
        self._stderr = StderrTail()
        self._kill_reason: str | None = None
        self._oom_kills = oom_kills()
        self._last_id = 0
        self._starting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._pinging: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> None:
        """Spawn the process and tell it what to load. Raises OSError."""
        # A spawn runs to its end even if the caller is cancelled: otherwise the process would be lost.
        self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        descriptor = self._memory.descriptor if self._memory else None
        self._process, ours, self._record = await spawn(self._load, descriptor)
        self._first_load = FirstLoad.of(self._load) if self._record else None
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        assert self._process.stderr is not None
        reading_stderr = asyncio.create_task(self._stderr.read(self._process.stderr))
        self._tasks = [reading_stderr, asyncio.create_task(self._read_messages())]
        self.send(self._load)

    async def loaded(self, timeout: float) -> ModelInfo:
        """Wait for the model; raises the worker's error, or NotReady after `timeout` seconds."""
        await asyncio.wait([self._loaded], timeout=timeout)
        if not self._loaded.done():
            raise NotReady(f"the model was not loaded within {timeout:g} s", hint="raise --load-timeout")
        return self._loaded.result()

    async def wait(self) -> WorkerExit:
        """Wait until the process has ended."""
        # Shielded: a caller that stops waiting must not stop the reading.
        await asyncio.shield(asyncio.gather(*self._tasks))
        assert self.exit is not None
        return self.exit

    async def stop(self) -> None:
        """Ask the process to end; kill it if it takes too long, or is still loading and has nothing to save."""
        if self._starting is None:
            return
        await asyncio.wait([self._starting])
        if self._starting.cancelled() or self._starting.exception():
            return
        self._kill_reason = self._kill_reason or STOPPED
        if self.info is not None:
            self.send(Shutdown())
            timeout = STOP_TIMEOUT + (SAVE_TIMEOUT if self._load.prefix_cache else 0)
            await wait_with_timeout(timeout, self._process.wait())
        self._kill()
        await self.wait()

    def kill(self, reason: str) -> None:
        """End the process at once."""
        self._kill_reason = self._kill_reason or reason
        self._kill()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def send(self, message: WorkerMessage) -> None:
        if self.exit is None and not self._writer.is_closing():
            self._writer.write(framing.encode(message))

    def submit(self, request: WorkerRequest) -> Exchange:
        """Send a request; its replies come through the exchange, which the caller must close."""
        self._last_id += 1
        id = self._last_id
        self.send(request.message(id))
        exchange = self._exchanges[id] = Exchange(id, request, self._close)
        self._unaccepted.add(id)
        self.idle.clear()
        if self.exit is not None:
            exchange.finish(died(self.exit))
        return exchange

    def _close(self, exchange: Exchange) -> None:
        del self._exchanges[exchange.id]
        self._unaccepted.discard(exchange.id)
        if exchange.unfinished:
            self.send(Cancel(exchange.id))
        if not self._exchanges:
            self.idle.set()

    async def _read_messages(self) -> None:
        try:
            while (message := await framing.read(self._reader, to_daemon)) is not None:
                self._dispatch(message)
        except Exception as e:  # its memory may be corrupt, and so may be what it sends
            log.exception("a message from the worker")
            self.kill(f"it sent what cannot be understood: {e}")
        self._writer.close()
        await self._on_exit(await self._process.wait())

    def _dispatch(self, message: ToDaemon) -> None:
        match message:
            case Step():
                self.stats = message.stats
                self.heartbeat.on_step(message.stats.step_ms)
                for id, deltas in _by_request(message.deltas).items():
                    self._on_deltas(id, deltas)
            case InFlight():
                self._computing = frozenset(message.ids)
            case Accepted():
                self._unaccepted.discard(message.id)
            case Pong():
                self.heartbeat.on_pong()
            case LogLine():
                logging.getLogger(message.logger).log(message.level, message.text)
            case LoadProgress():
                self.load_progress = message.share
            case Ready():
                self._on_ready(message)
            case Failed(id=0):
                reason = without_directories(message.error.message, self.config.model)
                self._fail_load(revive(replace(message.error, message=reason)))
            case Failed():
                self._finish(message.id, revive(message.error))
            case _:
                if isinstance(message, Embedded | Reranked):
                    self.useful = True
                    self.heartbeat.on_step()
                self._finish(message.id, message)

    def _on_ready(self, message: Ready) -> None:
        self.info = replace(message.info, revision=self.revision)
        self.load_seconds, self.load_progress = message.load_seconds, None
        self.confinement = message.confinement
        self.build = message.build
        self.stats = message.stats
        self.heartbeat.on_step(message.step_ms)
        self._pinging = asyncio.create_task(self._ping())
        self._loaded.set_result(self.info)
        if self._record and self._first_load:
            remember_first_load(self._record, self._first_load)

    def _on_deltas(self, id: int, deltas: list[Delta]) -> None:
        self.useful = True
        if (exchange := self._exchanges.get(id)) is None:  # it was cancelled meanwhile
            return
        # A prompt that crashes workers may crash them in its middle: only tokens show that this one does not.
        if exchange.request.awaits_progress and any(delta.progress is None for delta in deltas):
            self._quarantine.release(exchange.request)
        exchange.add_deltas(deltas)

    def _finish(self, id: int, reply: OnlyReply | EdgeinferError) -> None:
        if exchange := self._exchanges.get(id):  # else it was cancelled meanwhile
            exchange.finish(reply)

    def _fail_load(self, error: EdgeinferError) -> None:
        if not self._loaded.done():
            self._loaded.set_exception(error)
            self._loaded.exception()  # retrieved here, since there may be no one waiting for it

    async def _on_exit(self, status: int) -> None:
        await self._tasks[0]  # the rest of stderr
        if self._pinging:
            self._pinging.cancel()
        oom_killed = self._killed_for_memory(status)
        cause = self._stderr.cause
        self.exit = WorkerExit(first_fault(status, cause), cause, self._kill_reason, oom_killed)
        if self._kill_reason != STOPPED:
            suspects = self._unaccepted | self._computing
            requests = [e.request for id, e in self._exchanges.items() if id in suspects]
            unexplained = status == -signal.SIGKILL and not self._kill_reason and not oom_killed
            # What ends workers as soon as they compute may well be a request.
            killed = unexplained and self.useful
            self._quarantine.on_crash(requests, str(self.exit), killed=killed)
        self._fail_load(died(self.exit))
        for exchange in self._exchanges.values():
            if exchange.unfinished:
                exchange.finish(died(self.exit))

    def _killed_for_memory(self, status: int) -> bool:
        if status != -signal.SIGKILL or self._kill_reason:
            return False
        now = oom_kills()
        if now is None or self._oom_kills is None:  # then only while it loads: nothing else kills it there
            return self.info is None
        return now > self._oom_kills

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat.period)
            if self.heartbeat.tick():
                self._oom_kills = oom_kills()
                self.send(Ping())
            elif self.heartbeat.hung:
                self.kill(f"it hung: its engine was silent for {self.heartbeat.silence:.0f} s")


def _by_request(deltas: list[Delta]) -> dict[int, list[Delta]]:
    by_request: dict[int, list[Delta]] = {}
    for delta in deltas:
        by_request.setdefault(delta.id, []).append(delta)
    return by_request
