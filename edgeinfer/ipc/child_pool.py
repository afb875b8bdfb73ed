"""Several child processes that do the same risky work."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from edgeinfer.ipc.child_client import ChildClient
from edgeinfer.ipc.confinement.confinement import Confinement

Reply = TypeVar("Reply")


class ChildPool(Generic[Reply]):
    """Asks whichever process is free; one call takes as long as its process is at work on it.

    The second process, and any further one, is only started while those before it are busy, and ends when it has been
    idle for REST seconds.
    """

    SIZE = 2

    REST = 60.0

    def __init__(self, module: str, reply: type[Reply], max_frame: int, timeout: float, noun: str) -> None:
        """The arguments are those of ChildClient."""
        self._children = [ChildClient(module, reply, max_frame, timeout, noun=noun) for _ in range(self.SIZE)]
        self._free = asyncio.Semaphore(self.SIZE)
        self._busy: dict[ChildClient[Reply], asyncio.Task[Reply]] = {}
        self._resting: asyncio.TimerHandle | None = None

    @property
    def confinement(self) -> Confinement | None:
        """The layers that hold for the processes; None before the first start."""
        return self._children[0].confinement

    async def ask(self, request: bytes) -> Reply:
        """The reply to a request, which is a frame. Raises as ChildClient does."""
        await self._free.acquire()
        child = next(child for child in self._children if child not in self._busy)
        # A cancelled call keeps its process until that has finished with it.
        task = self._busy[child] = asyncio.create_task(child.ask(request))
        task.add_done_callback(lambda done: self._finished(child, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the processes. Calls that run, wait or are yet to come raise ShuttingDown."""
        if self._resting:
            self._resting.cancel()
        await asyncio.gather(*(child.close() for child in self._children))
        if self._busy:
            await asyncio.wait(list(self._busy.values()))

    def _finished(self, child: ChildClient[Reply], task: asyncio.Task[Reply]) -> None:
        del self._busy[child]
        self._free.release()
        if not task.cancelled():
            task.exception()  # retrieved here, since the caller may be gone
        if self._resting:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(self.REST, self._rest)

    def _rest(self) -> None:
        for child in self._children[1:]:
            if child not in self._busy:
                child.rest()
