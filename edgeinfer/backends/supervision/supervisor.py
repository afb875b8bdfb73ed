"""Keeps one worker running: starts it, restarts it after a crash, and replaces it by another."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from edgeinfer.backends.supervision.health import WorkerHealth
from edgeinfer.backends.supervision.waiting import finish, wait_with_timeout
from edgeinfer.backends.supervision.worker import STOPPED, Launcher, LaunchFailed, Worker
from edgeinfer.errors import EdgeinferError, NotReady, shutting_down
from edgeinfer.inference.types import ModelInfo

W = TypeVar("W", bound=Worker)
C = TypeVar("C")

log = logging.getLogger("edgeinfer.worker")


class WorkerSupervisor(Generic[W, C]):
    """Has a worker whenever one can be had; `health` tells its state.

    A model that fails to load at the start is `failed` for good. Later a crashed worker is restarted, since what worked
    once may work again, unless its exit shows that none can; the delay grows while workers crash without having
    answered anything.
    """

    DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
    """Seconds before the first, second, ... restart in a row."""

    STEADY = 60.0
    """A crash after so many seconds does not count as one in a row."""

    MAX_FAILED_STARTS = 3
    """Starts in a row that may fail before requests get the error of the last one."""

    def __init__(self, launcher: Launcher[W, C]) -> None:
        self.health: WorkerHealth[W] = WorkerHealth(lambda: launcher.load_progress)
        self._launcher = launcher
        self._supervising: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._replacing: asyncio.Task[ModelInfo] | None = None
        self._replace_lock = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        """Begin to spawn the first worker; returns before it is ready."""
        self._supervise_with(self._start_first())

    async def ready_worker(self, deadline: float) -> W:
        """The worker that takes requests now, once there is one.

        `deadline` is by the monotonic clock. The wait also ends after MAX_FAILED_STARTS.

        Raises:
            NotReady: there was none in time.
            ShuttingDown: the supervisor is closed.
            EdgeinferError: why the model cannot be loaded.
        """
        health = self.health

        def settled() -> bool:
            given_up = health.state in ("failed", "stopped") or health.failed_starts >= self.MAX_FAILED_STARTS
            return health.ready_worker is not None or given_up

        while not settled() and (left := deadline - time.monotonic()) > 0:
            await health.wait_until(settled, None if left == math.inf else left)
        if health.state == "stopped":
            raise shutting_down()
        if worker := health.ready_worker:
            return worker
        if health.last_error and (health.state == "failed" or health.failed_starts >= self.MAX_FAILED_STARTS):
            raise health.last_error
        hint = "GET /ready shows when it is ready"
        raise NotReady(f"the model is not ready ({health.state})", hint=hint, retry_after=5)

    async def replace(
        self,
        config: C,
        *,
        beside: bool,
        drain: float,
        switched: Callable[[], None] = lambda: None,
    ) -> ModelInfo:
        """Replace the running worker by one with `config`; -> its model, once it takes requests.

        `beside`: load it while the old one still answers, which takes memory for both. Otherwise the old one is
        drained first, and new requests wait. The new one continues what the old one has not done within `drain`
        seconds, if it has the same model. `switched` is called in the moment in which requests go to the new one.

        Raises:
            EdgeinferError: why the new one failed. The old one goes on.
        """
        async with self._replace_lock:
            if self._draining:
                await asyncio.wait([self._draining])  # never three at once
            if self.health.state in ("stopped", "failed"):
                raise self.health.last_error or shutting_down()
            load = self._load_beside if beside else self._load_after
            self._replacing = asyncio.create_task(load(config, drain, switched))
            try:
                return await self._replacing
            except LaunchFailed as e:
                raise e.error from None
            except asyncio.CancelledError:
                if self._closed:
                    raise shutting_down() from None
                raise

    async def refuse_requests(self) -> None:
        """Hand out no worker any more. Those that run go on."""
        await self.health.enter("stopped")

    def kill(self) -> None:
        """End the worker without giving it time to save anything."""
        if self.health.worker:
            self.health.worker.kill(STOPPED)

    async def aclose(self) -> None:
        """End all workers. May be called again."""
        self._closed = True
        await self.refuse_requests()
        for name in ("_replacing", "_supervising", "_draining"):  # the first may start another of the second
            if task := getattr(self, name):
                task.cancel()
                await asyncio.wait([task])
        if self.health.worker:
            await finish(self.health.worker.stop())

    async def _load_beside(self, config: C, drain: float, switched: Callable[[], None]) -> ModelInfo:
        new = await self._launcher.load(self._launcher.proven(config))
        try:
            old = await self._let_go()
        except asyncio.CancelledError:
            await finish(new.stop())
            self._resume_supervision()
            raise
        if old:
            self._draining = asyncio.create_task(_drain(old, drain))
        return self._adopt(new, config, switched)

    async def _load_after(self, config: C, drain: float, switched: Callable[[], None]) -> ModelInfo:
        new = None
        try:
            await self.health.enter("reloading")
            if old := await self._let_go():
                await _drain(old, drain)
            new = await self._launcher.load(self._launcher.proven(config))
        finally:
            if new is None:  # back to what worked
                self._resume_supervision()
        return self._adopt(new, config, switched)

    def _adopt(self, worker: W, config: C, switched: Callable[[], None]) -> ModelInfo:
        """Supervise this one, which is ready, from now on."""
        self._launcher.set_config(config)
        self.health.worker = worker
        self._supervise_with(self._supervise(worker))
        switched()
        assert worker.info
        return worker.info

    async def _let_go(self) -> W | None:
        """Supervise the worker no longer; -> that worker."""
        if self._supervising:
            self._supervising.cancel()
            await asyncio.wait([self._supervising])
        return self.health.worker

    def _resume_supervision(self) -> None:
        """After a failed replacement: supervise the worker that is there, or the next one like it."""
        if not self._closed:
            self._supervise_with(self._supervise_again(self._supervising))

    async def _supervise_again(self, before: asyncio.Task[None] | None) -> None:
        if before:
            before.cancel()
            await asyncio.wait([before])
        worker = self.health.worker
        await self._supervise(worker if worker and worker.exit is None else await self._restart(0))

    def _supervise_with(self, supervision: Coroutine[Any, Any, None]) -> None:
        self._supervising = asyncio.create_task(self._fail_loudly(supervision))

    async def _fail_loudly(self, supervision: Coroutine[Any, Any, None]) -> None:
        """Enter the state "failed" if no worker can be had; after a bug here too, else the daemon would wait for ever."""
        try:
            await supervision
        except LaunchFailed as e:
            self._note(e)
            await self.health.enter("failed")
        except Exception as e:
            log.exception("the worker is no longer supervised")
            self.health.last_error = EdgeinferError(f"internal error: {e}")
            await self.health.enter("failed")

    async def _start_first(self) -> None:
        await self._supervise(await self._launcher.launch(first=True))

    async def _supervise(self, worker: W) -> None:
        """Look after a worker that is ready, and its successors, until cancelled."""
        health, hasty = self.health, 0
        while True:
            health.worker = worker
            health.last_error, health.failed_starts = None, 0
            await health.enter("ready")
            since = time.monotonic()
            exit = await worker.wait()
            hasty = 0 if worker.useful or time.monotonic() - since > self.STEADY else hasty + 1
            health.last_exit = str(exit)
            health.note_exit(str(exit), was_ready=True)
            log.error("the worker died: %s", exit)
            await health.enter("restarting")
            await self._launcher.adapt(exit)
            worker = await self._restart(hasty)

    async def _restart(self, hasty: int) -> W:
        """Start workers until one is ready; `hasty` crashes in a row came before."""
        while True:
            await self.health.enter("restarting")
            self.health.restarts += 1
            await asyncio.sleep(self.DELAYS[min(hasty, len(self.DELAYS) - 1)])
            try:
                return await self._launcher.launch(first=False)
            except LaunchFailed as e:
                if e.final:
                    raise
                self._note(e)
            hasty += 1

    def _note(self, failure: LaunchFailed) -> None:
        log.error("%s", failure.error.message)
        self.health.last_error = failure.error
        self.health.note_exit(failure.error.message, was_ready=False)
        self.health.failed_starts += 1


async def _drain(worker: Worker, seconds: float) -> None:
    """Let it finish its requests, then end it."""
    try:
        await wait_with_timeout(seconds, worker.idle.wait())
    finally:
        await finish(worker.stop())
