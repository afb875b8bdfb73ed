"""The daemon's one handle on the model: keeps a worker running, and speaks for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Literal, TypeVar

from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.guidance import NO_GUIDANCE, Guidance
from edgeinfer.engine.output import Delta, EngineStats
from edgeinfer.engine.sampling import SamplingParams
from edgeinfer.errors import (
    EdgeinferError,
    InvalidRequest,
    ModelLoadFailed,
    NotReady,
    QueueFull,
    ShuttingDown,
    WorkerDied,
)
from edgeinfer.worker.client import Worker
from edgeinfer.worker.messages import (
    Detokenize,
    Embed,
    Embeddings,
    Generate,
    Message,
    ModelInfo,
    Prompt,
    Span,
    Step,
    Text,
    ToDaemon,
    Tokenize,
    Tokens,
)

log = logging.getLogger("edgeinfer.worker")

State = Literal["starting", "ready", "restarting", "failed", "stopped"]

R = TypeVar("R", Tokens, Text, Embeddings)


class Supervisor:
    """Keeps one worker running: starts it, restarts it when it dies, and speaks for it.

        starting ──► ready ◄──► restarting
            └──► failed            any ──► stopped

    A model that fails to load at the start is `failed` for good; after that a dead worker is restarted with
    a growing delay, as what worked once may work again. Every request waits for a starting worker (up to
    `wait` seconds) and then raises NotReady; WorkerDied if the worker dies underneath; otherwise whatever
    error the worker answers with.
    """

    DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
    """Seconds before the first, second, ... restart in a row."""

    STEADY = 60.0
    """A worker that was ready for so many seconds did not die in a row."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        queue: int,
        load_timeout: float = 600.0,
        wait: float = 30.0,
        markers: Sequence[str] = (),
    ) -> None:
        self.config = config
        self._markers = markers
        self.state: State = "starting"
        self.restarts = 0
        self.last_exit: str | None = None
        self.load_error: EdgeinferError | None = None
        self.active = 0
        """Answers asked for and not ended, waiting ones included."""
        self._queue = queue
        self._load_timeout = load_timeout
        self._wait = wait
        self._worker: Worker | None = None
        self._changed = asyncio.Condition()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._answer_seconds = 1.0

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model, None while there is none."""
        alive = self._worker and self._worker.death is None
        return self._worker.info if self._worker and alive and self.state == "ready" else None

    @property
    def stats(self) -> EngineStats:
        """The last step's figures."""
        return self._worker.stats if self._worker else EngineStats()

    @property
    def load_seconds(self) -> float:
        """How long the model took to load."""
        return self._worker.load_seconds if self._worker else 0.0

    @property
    def worker_pid(self) -> int | None:
        return self._worker.pid if self._worker and self._worker.death is None else None

    async def start(self) -> None:
        """Begin to spawn the first worker; returns before it is ready."""
        self._task = asyncio.create_task(self._keep_running())

    async def stop(self, drain: float = 0.0) -> None:
        """Refuse new requests, give running ones `drain` seconds, then end the worker. May be called again."""
        await self._enter("stopped")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), drain)
        if self._task and not self._stopping:
            self._stopping = True
            self._task.cancel()
        if self._task:
            await asyncio.wait([self._task])

    async def ready(self) -> ModelInfo:
        """The loaded model. Raises NotReady, ShuttingDown, or what failed the loading."""
        return (await self._ready_worker())[1]

    async def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        n: int = 1,
        add_bos: bool = True,
        guidance: Guidance = NO_GUIDANCE,
    ) -> AsyncGenerator[Delta, None]:
        """Deltas of all n answers, until each has had its `finish`.

        Closing the iterator, or cancelling the task it runs in, cancels the request in the worker.
        QueueFull (with `retry_after`) and ContextLengthExceeded are raised before the first delta.
        """
        await self._ready_worker()
        self._check_queue(n)
        self._count(n)
        started, left = time.monotonic(), n
        try:
            async with aclosing(
                self._exchange(lambda id: Generate(id, prompt, params, n, add_bos, guidance))
            ) as replies:
                async for reply in replies:
                    assert isinstance(reply, Step)
                    for delta in reply.deltas:
                        left -= delta.finish is not None
                        self._count(-(delta.finish is not None))
                        yield delta
                    if not left:
                        self._answer_seconds += 0.2 * (time.monotonic() - started - self._answer_seconds)
                        return
        finally:
            self._count(-left)

    async def tokenize(self, prompt: list[Span], *, add_bos: bool = False) -> Tokens:
        return await self._ask(lambda id: Tokenize(id, prompt, add_bos), Tokens)

    async def detokenize(self, tokens: list[int]) -> str:
        return (await self._ask(lambda id: Detokenize(id, tokens), Text)).text

    async def embed(self, inputs: list[Prompt]) -> Embeddings:
        return await self._ask(lambda id: Embed(id, inputs), Embeddings)

    async def _ask(self, make: Callable[[int], Message], kind: type[R]) -> R:
        async with aclosing(self._exchange(make)) as replies:
            async for reply in replies:
                assert isinstance(reply, kind)
                return reply
        raise AssertionError("an exchange does not end by itself")

    async def _exchange(self, make: Callable[[int], Message]) -> AsyncGenerator[ToDaemon, None]:
        """As Worker.exchange; a request that its worker took along before any reply is asked once more."""
        for attempt in (1, 2):
            worker, _ = await self._ready_worker()
            replied = False
            try:
                async with aclosing(worker.exchange(make)) as replies:
                    async for reply in replies:
                        replied = True
                        yield reply
            except WorkerDied:
                if replied or attempt == 2:
                    raise

    async def _ready_worker(self) -> tuple[Worker, ModelInfo]:
        end = time.monotonic() + self._wait
        while not self._settled and time.monotonic() < end:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._settle(), end - time.monotonic())
        if self.state == "stopped":
            raise ShuttingDown("the service is shutting down", retry_after=5)
        if self.load_error and self.state == "failed":
            raise self.load_error
        if self._worker is None or self.info is None:
            hint = "GET /ready tells when"
            raise NotReady(f"the model is not ready ({self.state})", hint=hint, retry_after=5)
        return self._worker, self.info

    @property
    def _settled(self) -> bool:
        return self.info is not None or self.state in ("failed", "stopped")

    async def _settle(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._settled)

    def _check_queue(self, n: int) -> None:
        limit = self.config.parallel + self._queue
        if n > limit:
            raise InvalidRequest(f"n is {n}, and no more than {limit} answers may wait", param="n")
        if self.active + n > limit:
            rounds = math.ceil(self.active / self.config.parallel)
            raise QueueFull(
                f"{self.active} answers are running or waiting, and the limit is {limit}",
                hint="try again later, or raise --queue",
                retry_after=max(1, min(60, math.ceil(rounds * self._answer_seconds / 2))),
            )

    def _count(self, change: int) -> None:
        self.active += change
        if self.active:
            self._quiet.clear()
        else:
            self._quiet.set()

    async def _enter(self, state: State) -> None:
        async with self._changed:
            if self.state != "stopped":
                self.state = state
            self._changed.notify_all()

    async def _keep_running(self) -> None:
        if not await self._run_worker():
            await self._enter("failed")
            return
        deaths = 0
        while True:
            await self._enter("restarting")
            self.restarts += 1
            await asyncio.sleep(self.DELAYS[min(deaths, len(self.DELAYS) - 1)])
            started = time.monotonic()
            await self._run_worker()
            deaths = 0 if time.monotonic() - started > self.STEADY else deaths + 1

    async def _run_worker(self) -> bool:
        """One worker's whole life; -> was it ever ready?"""
        worker = self._worker = Worker(self.config, self._markers)
        # A spawn runs to its end whatever happens, or nobody would know the process.
        starting = asyncio.create_task(worker.start())
        try:
            await asyncio.shield(starting)
            if loaded := await self._load(worker):
                self.last_exit = await worker.wait()
                log.error("the worker died: %s", self.last_exit)
            return loaded
        except OSError as e:
            self.load_error = ModelLoadFailed(f"the worker could not be started: {e}")
            log.error("%s", self.load_error.message)
            return False
        finally:
            await asyncio.wait([starting])
            if not starting.exception():
                await asyncio.shield(worker.stop())

    async def _load(self, worker: Worker) -> bool:
        """Wait for the model; -> has it loaded?"""
        try:
            info = await worker.loaded(self._load_timeout)
        except EdgeinferError as e:
            log.error("%s", e.message)
            self.load_error = e
            return False
        log.info("%s is ready after %.1f s: %s", info.name, worker.load_seconds, info.description)
        self.load_error = None
        await self._enter("ready")
        return True
