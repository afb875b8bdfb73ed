"""Keeps one worker running: starts it, starts it again when it dies, and puts another in its place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import Worker
from edgeinfer.backends.llama_cpp.launcher import Launcher, NotLoaded
from edgeinfer.backends.llama_cpp.waiting import within
from edgeinfer.errors import EdgeinferError, ShuttingDown
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import ModelInfo

log = logging.getLogger("edgeinfer.worker")

State = Literal["starting", "ready", "restarting", "reloading", "failed", "stopped"]


class Keeper:
    """Has a worker, as far as one can be had.

        starting ──► ready ◄──► restarting        ready ◄──► reloading
            └──► failed                           any ──► stopped

    A model that fails to load at the start is `failed` for good; after that a dead worker is restarted, as what
    worked once may work again, with a growing delay where workers die and have brought nothing forth.

    Attributes:
        restarts: workers started in the place of dead ones.
        last_exit: how the last one died.
        load_error: why the last one that was started did not become ready.
        failed_starts: so many in a row did not.
    """

    DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
    """Seconds before the first, second, ... restart in a row."""

    STEADY = 60.0
    """A worker that was ready for so many seconds did not die in a row."""

    HOPELESS = 5
    """Starts in a row that failed, after which it may be the daemon's fault."""

    def __init__(self, launcher: Launcher) -> None:
        self.state: State = "starting"
        self.restarts = 0
        self.last_exit: str | None = None
        self.load_error: EdgeinferError | None = None
        self.failed_starts = 0
        self._launcher = launcher
        self._worker: Worker | None = None
        self._changed = asyncio.Condition()
        self._keeping: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._replacing: asyncio.Task[ModelInfo] | None = None
        self._stopped = False
        self._turn = asyncio.Lock()

    @property
    def config(self) -> LlamaConfig:
        """In force. It may ask for less than what was wanted, see `fallback`."""
        return self._launcher.config

    @property
    def fallback(self) -> list[str]:
        """What was changed in the settings, and why, in words."""
        return self._launcher.changed

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

    @property
    def heartbeat_age(self) -> float:
        """Seconds for which the engine has given no sign of life, though it was asked for one."""
        return self._worker.heartbeat.silence if self._worker and self._worker.death is None else 0.0

    @property
    def healthy(self) -> bool:
        """The engine makes progress, or is being seen to."""
        if self.state == "failed" or self.failed_starts >= self.HOPELESS:
            return False
        pulse = self._worker.heartbeat if self._worker and self._worker.death is None else None
        return pulse is None or pulse.silence <= pulse.limit + 2 * pulse.period  # by then it is killed

    async def start(self) -> None:
        """Begin to spawn the first worker; returns before it is ready."""
        self._keep_with(self._keep_first())

    async def replace(
        self,
        config: LlamaConfig,
        *,
        beside: bool,
        drain: float,
        switched: Callable[[], None] = lambda: None,
    ) -> ModelInfo:
        """Put a worker with `config` in the place of the one that runs; -> its model, once it answers.

        `beside`: load it while the old one still answers, which takes memory for both. Otherwise the old one is
        drained first, and new requests wait. What the old one has not done within `drain` seconds the new one
        goes on with, if it has the same model. `switched` is called in the moment in which requests go to it.

        Raises:
            EdgeinferError: what failed the new one. The old one goes on.
        """
        async with self._turn:
            if self._draining:
                await asyncio.wait([self._draining])  # never three at once
            if self.state in ("stopped", "failed"):
                raise self.load_error or shutting_down()
            way = self._load_beside if beside else self._load_afterwards
            self._replacing = asyncio.create_task(way(config, drain, switched))
            try:
                return await self._replacing
            except NotLoaded as e:
                raise e.error from None
            except asyncio.CancelledError:
                if self._stopped:
                    raise shutting_down() from None
                raise

    async def _load_beside(
        self, config: LlamaConfig, drain: float, switched: Callable[[], None]
    ) -> ModelInfo:
        new = await self._launcher.load(self._launcher.known(config))
        try:
            old = await self._let_go()
        except asyncio.CancelledError:
            await asyncio.shield(new.stop())
            self._keep_on()
            raise
        if old:
            self._draining = asyncio.create_task(_drain(old, drain))
        return self._take(new, config, switched)

    async def _load_afterwards(
        self, config: LlamaConfig, drain: float, switched: Callable[[], None]
    ) -> ModelInfo:
        new = None
        try:
            await self._enter("reloading")
            if old := await self._let_go():
                await _drain(old, drain)
            new = await self._launcher.load(self._launcher.known(config))
        finally:
            if new is None:  # back to what worked
                self._keep_on()
        return self._take(new, config, switched)

    def _take(self, worker: Worker, config: LlamaConfig, switched: Callable[[], None]) -> ModelInfo:
        """Keep this one, which is ready, from now on."""
        self._launcher.want(config)
        self._worker = worker
        self._keep_with(self._keep(worker))
        switched()
        assert worker.info
        return worker.info

    async def _let_go(self) -> Worker | None:
        """Keep it no longer; -> the worker that was kept."""
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        return self._worker

    def _keep_on(self) -> None:
        """Nothing came of a replacement: keep the worker that is there, or the next one like it."""
        if not self._stopped:
            self._keep_with(self._keep_again(self._keeping))

    async def _keep_again(self, before: asyncio.Task[None] | None) -> None:
        if before:
            before.cancel()
            await asyncio.wait([before])
        if self._worker and self._worker.death is None:
            await self._keep(self._worker)
        else:
            await self._keep(await self._restart(0))

    async def _stop(self) -> None:
        """End everything, once."""
        self._stopped = True
        for name in ("_replacing", "_keeping", "_draining"):  # the first one may start another of the second
            if task := getattr(self, name):
                task.cancel()
                await asyncio.wait([task])
        if self._worker:
            await asyncio.shield(self._worker.stop())

    async def _enter(self, state: State) -> None:
        async with self._changed:
            if self.state != "stopped":
                self.state = state
            self._changed.notify_all()

    def _keep_with(self, keeping: Coroutine[Any, Any, None]) -> None:
        self._keeping = asyncio.create_task(self._fail_loudly(keeping))

    async def _fail_loudly(self, keeping: Coroutine[Any, Any, None]) -> None:
        """A bug here must not leave a daemon that waits for ever: its service manager shall see it."""
        try:
            await keeping
        except Exception as e:
            log.exception("the worker is no longer kept")
            self.load_error = EdgeinferError(f"internal error: {e}")
            await self._enter("failed")

    async def _keep_first(self) -> None:
        try:
            worker = await self._launcher.launch(first=True)
        except NotLoaded as e:
            self._note(e)
            await self._enter("failed")
        else:
            await self._keep(worker)

    async def _keep(self, worker: Worker) -> None:
        """One that is ready, and its successors; until cancelled."""
        hasty = 0
        while True:
            self._worker = worker
            self.load_error, self.failed_starts = None, 0
            await self._enter("ready")
            since = time.monotonic()
            death = await worker.wait()
            hasty = 0 if worker.useful or time.monotonic() - since > self.STEADY else hasty + 1
            self.last_exit = str(death)
            log.error("the worker died: %s", death)
            await self._enter("restarting")
            await self._launcher.after(death)
            worker = await self._restart(hasty)

    async def _restart(self, hasty: int) -> Worker:
        while True:
            await self._enter("restarting")
            self.restarts += 1
            await asyncio.sleep(self.DELAYS[min(hasty, len(self.DELAYS) - 1)])
            try:
                return await self._launcher.launch(first=False)
            except NotLoaded as e:
                self._note(e)
            hasty += 1

    def _note(self, failure: NotLoaded) -> None:
        log.error("%s", failure.error.message)
        self.load_error = failure.error
        self.failed_starts += 1


def shutting_down() -> ShuttingDown:
    return ShuttingDown("the service is shutting down", retry_after=5)


async def _drain(worker: Worker, seconds: float) -> None:
    """Let it finish what it is at, and end it."""
    try:
        await within(seconds, worker.idle.wait())
    finally:
        await asyncio.shield(worker.stop())
