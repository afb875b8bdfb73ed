"""Several child processes that do the same risky work."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Generic, TypeVar

from edgeinfer.errors import EdgeinferError
from edgeinfer.ipc.child_client import ChildClient
from edgeinfer.ipc.confinement.confinement import Confinement

Reply = TypeVar("Reply")


class ChildPool(Generic[Reply]):
    """Asks whichever process is free first; one call takes as long as its process is at work on it.

    The first process starts at the first call. Another one starts when a call has to wait, and takes calls once it is
    ready. When all have been idle for REST seconds, all but one end; `rest` ends that one too.
    """

    SIZE = 2

    REST = 60.0

    def __init__(self, module: str, reply: type[Reply], max_frame: int, timeout: float, noun: str) -> None:
        """The arguments are those of ChildClient."""
        self._children = [ChildClient(module, reply, max_frame, timeout, noun=noun) for _ in range(self.SIZE)]
        self._spare = self._children[1:]
        self._idle: asyncio.LifoQueue[ChildClient[Reply]] = asyncio.LifoQueue()
        self._idle.put_nowait(self._children[0])
        self._tasks: set[asyncio.Task[Any]] = set()
        self._resting: asyncio.TimerHandle | None = None

    @property
    def confinement(self) -> Confinement | None:
        """The layers that hold for the processes; None before the first start."""
        return next((child.confinement for child in self._children if child.confinement), None)

    async def ask(self, request: bytes) -> Reply:
        """The reply to a request, which is a frame. Raises as ChildClient does."""
        if self._idle.empty() and self._spare:
            starting = asyncio.create_task(self._start(self._spare.pop()))
            self._tasks.add(starting)
            starting.add_done_callback(self._tasks.discard)
        child = await self._idle.get()
        # A cancelled call keeps its process until that has finished with it.
        task = asyncio.create_task(child.ask(request))
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._release(child, task))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the processes. Calls that run, wait or are yet to come raise ShuttingDown."""
        if self._resting:
            self._resting.cancel()
        await asyncio.gather(*(child.close() for child in self._children))
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _start(self, child: ChildClient[Reply]) -> None:
        with contextlib.suppress(EdgeinferError):  # the next call to it will get the error
            await child.start()
        self._idle.put_nowait(child)

    def _release(self, child: ChildClient[Reply], task: asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        self._idle.put_nowait(child)
        if not task.cancelled():
            task.exception()  # retrieved here, since the caller may be gone
        if self._resting:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(self.REST, self._rest)

    def rest(self) -> None:
        """End all processes that are idle, as no call is expected soon; the next one starts a process, and waits for it."""
        self._rest()
        if not self._idle.empty():
            child = self._idle.get_nowait()
            child.rest()
            self._idle.put_nowait(child)

    def _rest(self) -> None:
        while self._idle.qsize() > 1:
            child = self._idle.get_nowait()
            child.rest()
            self._spare.append(child)
