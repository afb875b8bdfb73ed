"""One request at one worker, and the replies to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from edgeinfer.backends.llama_cpp.in_flight import WorkerRequest
from edgeinfer.backends.llama_cpp.messages import OnlyReply
from edgeinfer.errors import EdgeinferError
from edgeinfer.inference.output import Delta

Reply = list[Delta] | OnlyReply
"""The deltas of one step for a `Generate`, or the only reply to another request."""


class Exchange:
    """Receives the replies, in order, until it is closed. Closing it cancels what is unfinished.

    Attributes:
        unfinished: answers whose terminal reply the worker has not sent.
    """

    def __init__(self, id: int, request: WorkerRequest, close: Callable[[Exchange], None]) -> None:
        self.id = id
        self.request = request
        self.unfinished = request.unfinished
        self._close = close
        self._replies: asyncio.Queue[Reply | EdgeinferError] = asyncio.Queue()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(self)

    async def receive(self) -> Reply:
        """The next reply.

        Raises:
            WorkerDied: the worker ended before its last reply.
            EdgeinferError: the worker's answer to the request.
        """
        reply = await self._replies.get()
        if isinstance(reply, EdgeinferError):
            raise reply
        return reply

    def add_deltas(self, deltas: list[Delta]) -> None:
        self.unfinished -= sum(delta.finish is not None for delta in deltas)
        self._replies.put_nowait(deltas)

    def finish(self, reply: Reply | EdgeinferError) -> None:
        """Add the last reply."""
        self.unfinished = 0
        self._replies.put_nowait(reply)
