"""What clients of supervised engines have in common: their life, from `start` to `aclose`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from edgeinfer.backends.supervision.health import WorkerHealth
from edgeinfer.backends.supervision.placement import Placement
from edgeinfer.backends.supervision.supervisor import WorkerSupervisor
from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.backends.supervision.worker import Launcher, Worker
from edgeinfer.inference.types import ModelInfo

W = TypeVar("W", bound=Worker)
C = TypeVar("C")


class SupervisedClient(Generic[W, C]):
    """Implements the part of EngineClient that is no request.

    Attributes:
        active: answers that were requested and have not ended, waiting ones included.
    """

    def __init__(self, launcher: Launcher[W, C], wait: float) -> None:
        """A request waits up to `wait` seconds for a worker that starts."""
        self._launcher = launcher
        self._supervisor: WorkerSupervisor[W, C] = WorkerSupervisor(launcher)
        self._quarantine = launcher.quarantine
        self._placement = Placement(self._supervisor, self._quarantine, wait)
        self.active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def config(self) -> C:
        """The configuration in force. It may demand less than what was wanted, see `config_changes`."""
        return self._launcher.config

    @property
    def config_changes(self) -> Sequence[str]:
        """Differences from the wanted configuration and their reasons, in words."""
        return self._launcher.changes

    @property
    def info(self) -> ModelInfo | None:
        worker = self.health.ready_worker
        return worker.info if worker else None

    @property
    def health(self) -> WorkerHealth[W]:
        return self._supervisor.health

    async def start(self) -> None:
        await self._supervisor.start()

    async def ready(self) -> ModelInfo:
        worker = await self._placement.ready_worker()
        assert worker.info
        return worker.info

    async def replace(
        self, config: C, *, beside: bool, drain: float, switched: Callable[[], None] = lambda: None
    ) -> ModelInfo:
        """Replace the running worker, see WorkerSupervisor.replace."""
        return await self._supervisor.replace(config, beside=beside, drain=drain, switched=switched)

    async def aclose(self, drain: float = 0.0) -> None:
        await self._supervisor.refuse_requests()
        await wait_with_timeout(drain, self._idle.wait())
        await self._supervisor.aclose()

    async def kill(self) -> None:
        """End the engine at once, without saving anything."""
        self._supervisor.kill()
        await self.aclose()

    def _count(self, change: int) -> None:
        self.active += change
        if self.active:
            self._idle.clear()
        else:
            self._idle.set()
