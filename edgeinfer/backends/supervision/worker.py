"""What the supervisor asks of a worker process, and of what starts it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

from edgeinfer.backends.supervision.heartbeat import Heartbeat
from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.worker_exit import WorkerExit
from edgeinfer.errors import EdgeinferError, WorkerDied
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import EngineBuild, ModelInfo

STOPPED = "stopped"
"""Reason for a kill that is no crash."""


class Worker(Protocol):
    """The daemon's side of a process that computes answers for one model.

    Attributes:
        info: the loaded model; None until it is ready.
        heartbeat: measures its silence.
        idle: set while no request is in flight.
    """

    info: ModelInfo | None
    heartbeat: Heartbeat
    idle: asyncio.Event

    @property
    def pid(self) -> int: ...

    @property
    def revision(self) -> str:
        """Identity of the model's file when the worker was started."""
        ...

    @property
    def exit(self) -> WorkerExit | None:
        """How the process ended; None while it runs."""
        ...

    @property
    def useful(self) -> bool:
        """It has answered something."""
        ...

    @property
    def stats(self) -> EngineStats: ...

    @property
    def load_seconds(self) -> float: ...

    @property
    def confinement(self) -> object | None:
        """The layers that hold for it, in words; None until it is ready."""
        ...

    @property
    def build(self) -> EngineBuild | None:
        """The program that computes; None if that is unknown."""
        ...

    async def wait(self) -> WorkerExit:
        """Wait until the process has ended."""
        ...

    async def stop(self) -> None:
        """Ask the process to end; kill it if it takes too long."""
        ...

    def kill(self, reason: str) -> None:
        """End the process at once."""
        ...


W_co = TypeVar("W_co", bound=Worker, covariant=True)
C = TypeVar("C")


class Launcher(Protocol[W_co, C]):
    """Starts one worker after the other."""

    @property
    def config(self) -> C:
        """The configuration in force."""
        ...

    @property
    def changes(self) -> Sequence[str]:
        """Differences from the wanted configuration and their reasons, in words."""
        ...

    @property
    def quarantine(self) -> CrashQuarantine:
        """Keeps requests that crash workers from the next ones."""
        ...

    @property
    def load_progress(self) -> float | None:
        """The share of the model that the worker which is being started has read; None if that is unknown."""
        ...

    def set_config(self, config: C) -> None:
        """From now on load the model like this."""
        ...

    def proven(self, config: C) -> C:
        """`config` with the changes without which it is known to crash."""
        ...

    async def adapt(self, exit: WorkerExit) -> None:
        """Change the configuration if the exit of a worker that was ready calls for it.

        Raises:
            LaunchFailed: no worker can work.
        """
        ...

    async def launch(self, first: bool) -> W_co:
        """Start a worker and wait until it is ready. Raises LaunchFailed."""
        ...

    async def load(self, config: C) -> W_co:
        """Start a worker and wait until it is ready with `config`, and no other. Raises LaunchFailed."""
        ...


class LaunchFailed(Exception):
    """A worker did not become ready. `exit` is None where it had to be stopped; `final`: no other would either."""

    def __init__(self, error: EdgeinferError, exit: WorkerExit | None = None, *, final: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit = exit
        self.final = final
        self.reason = str(exit or error.message)


def died(exit: WorkerExit) -> WorkerDied:
    """The error for what a worker did not finish."""
    return WorkerDied(f"the worker died: {exit}", hint="it is being restarted: try again")
