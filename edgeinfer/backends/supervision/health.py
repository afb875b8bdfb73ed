"""The state of one model's worker, as clients, operators and the watchdog see it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.backends.supervision.worker import Worker
from edgeinfer.errors import EdgeinferError
from edgeinfer.inference.client import EngineExit, EngineState
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import EngineBuild

W = TypeVar("W", bound=Worker)


class WorkerHealth(Generic[W]):
    """Implements EngineHealth. The supervisor writes it; others read it, or wait for a change.

        starting ──► ready ◄──► restarting        ready ◄──► reloading
            └──► failed                           any ──► stopped

    Attributes:
        worker: the process that is supervised, alive or not.
        earlier_stats: counters of the processes before it.
        failed_starts: workers in a row that did not become ready.
    """

    MAX_FAILED_STARTS = 5
    """After so many in a row the daemon itself may be at fault, and is no longer healthy."""

    MAX_EXITS = 20
    """Exits that are remembered."""

    def __init__(self, load_progress: Callable[[], float | None] = lambda: None) -> None:
        """`load_progress`: of the worker that is being started."""
        self._load_progress = load_progress
        self.state: EngineState = "starting"
        self.earlier_stats = EngineStats()
        self._worker: W | None = None
        self.restarts = 0
        self.resumed = 0
        self.failed_starts = 0
        self.last_exit: str | None = None
        self.last_error: EdgeinferError | None = None
        self._exits: deque[EngineExit] = deque(maxlen=self.MAX_EXITS)
        self._changed = asyncio.Condition()

    @property
    def worker(self) -> W | None:
        return self._worker

    @worker.setter
    def worker(self, worker: W) -> None:
        if self._worker and self._worker is not worker:
            self.earlier_stats = self._worker.stats.with_totals_of(self.earlier_stats)
        self._worker = worker

    def note_exit(self, cause: str, *, was_ready: bool) -> None:
        """Remember that a worker has ended, or did not become ready."""
        self._exits.append(EngineExit(time.time(), cause, was_ready))

    @property
    def exits(self) -> Sequence[EngineExit]:
        return tuple(self._exits)

    @property
    def ready_worker(self) -> W | None:
        """The worker that takes requests now."""
        return self._live if self.state == "ready" else None

    @property
    def stats(self) -> EngineStats:
        return self.worker.stats if self.worker else EngineStats()

    @property
    def load_progress(self) -> float | None:
        return self._load_progress()

    @property
    def load_seconds(self) -> float:
        return self.worker.load_seconds if self.worker else 0.0

    @property
    def pid(self) -> int | None:
        return self._live.pid if self._live else None

    @property
    def confinement(self) -> str | None:
        confinement = self._live.confinement if self._live else None
        return str(confinement) if confinement else None

    @property
    def build(self) -> EngineBuild | None:
        return self._live.build if self._live else None

    @property
    def silence(self) -> float:
        """Seconds for which the engine has not answered a ping."""
        return self._live.heartbeat.silence if self._live else 0.0

    @property
    def healthy(self) -> bool:
        """The engine makes progress, or the supervisor is about to replace it."""
        if self.state == "failed" or self.failed_starts >= self.MAX_FAILED_STARTS:
            return False
        heartbeat = self._live.heartbeat if self._live else None
        # Beyond the limit the worker is killed: two more ticks leave time for that.
        return heartbeat is None or heartbeat.silence <= heartbeat.limit + 2 * heartbeat.period

    @property
    def _live(self) -> W | None:
        return self.worker if self.worker and self.worker.exit is None else None

    async def enter(self, state: EngineState) -> None:
        """Change the state, unless it is "stopped", and wake those who wait for a change."""
        async with self._changed:
            if self.state != "stopped":
                self.state = state
            self._changed.notify_all()

    async def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Return once `condition` holds, or after `timeout` seconds."""
        await wait_with_timeout(timeout, self._until(condition))

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)
