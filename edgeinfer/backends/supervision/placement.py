"""Finds the worker that may take a request."""

from __future__ import annotations

import math
import time
from typing import Any, Generic, TypeVar

from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.backends.supervision.supervisor import WorkerSupervisor
from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.backends.supervision.worker import Worker
from edgeinfer.errors import ModelReplaced, NotReady, WorkerDied

W = TypeVar("W", bound=Worker)


class Placement(Generic[W]):
    """Gives requests to the supervised worker, but to none that they may crash again.

    A request waits up to `wait` seconds for its first worker. After a crash it waits for the next one for as long as
    there is hope.
    """

    def __init__(
        self, supervisor: WorkerSupervisor[W, Any], quarantine: CrashQuarantine, wait: float
    ) -> None:
        self._supervisor = supervisor
        self._quarantine = quarantine
        self._wait = wait

    async def ready_worker(self) -> W:
        """The worker that takes requests now, once there is one. Raises as WorkerSupervisor.ready_worker."""
        return await self._supervisor.ready_worker(time.monotonic() + self._wait)

    async def place(self, request: InFlightRequest) -> W:
        """The worker for the request, as soon as one may take it.

        Raises:
            ModelReplaced: the worker has another model than the one that the request is for.
            WorkerDied: the request crashes workers.
            RateLimited: its caller's requests have crashed too many.
            NotReady: no worker was ready in time.
        """
        worker = await self._admitted(request)
        if request.revision not in (None, worker.revision):
            raise _replaced(request)
        request.revision, request.submitted = worker.revision, True
        self._supervisor.health.resumed += request.has_output
        return worker

    async def _admitted(self, request: InFlightRequest) -> W:
        deadline = math.inf if request.submitted else time.monotonic() + self._wait
        while True:
            if request.blamed_exit is not None:
                raise WorkerDied(
                    f"this request crashes the model's process: {request.blamed_exit}",
                    hint="it would do so again; the log says more about the crash: edgeinfer logs",
                )
            self._quarantine.holds.check(request.activity)
            worker = await self._supervisor.ready_worker(deadline)
            if self._quarantine.admit(request):
                return worker
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotReady("requests are being isolated after repeated crashes; try again", retry_after=5)
            await wait_with_timeout(None if left == math.inf else left, self._quarantine.changed())


def _replaced(request: InFlightRequest) -> ModelReplaced:
    if request.has_output:
        return ModelReplaced("the model was replaced before this answer was finished", retry_after=1)
    return ModelReplaced(
        "the model was replaced before this answer began; send the request again", retry_after=1
    )
