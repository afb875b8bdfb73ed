"""The daemon's one handle on the model: asks the worker, and goes on where a worker that died left off."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import STOPPED, Worker
from edgeinfer.backends.llama_cpp.in_flight import Asked, Generation
from edgeinfer.backends.llama_cpp.launcher import Launcher
from edgeinfer.backends.llama_cpp.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Message,
    Step,
    ToDaemon,
    Tokenize,
    Tokenized,
)
from edgeinfer.backends.llama_cpp.supervisor import Keeper, shutting_down
from edgeinfer.backends.llama_cpp.waiting import within
from edgeinfer.errors import InvalidRequest, NotReady, QueueFull, ShuttingDown, WorkerDied
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import Embeddings, ModelInfo, Prompt, Span, Tokens

R = TypeVar("R", Tokenized, Detokenized, Embedded)


class Supervisor(Keeper):
    """Speaks for the worker that is kept.

    A request waits for a worker that starts, up to `wait` seconds, and then raises NotReady; otherwise whatever
    error the worker answers with. If the worker dies, the next one goes on with it where it was, and the caller
    sees nothing but a pause. WorkerDied is for a request that is to blame for the deaths.
    """

    HOPE = 3
    """Starts in a row that may fail before answers that were cut are given up."""

    def __init__(self, config: LlamaConfig, *, queue: int, wait: float = 30.0, **more: Any) -> None:
        """`more`: as Launcher takes it."""
        launcher = Launcher(config, **more)
        super().__init__(launcher)
        self._suspects = launcher.suspects
        self.active = 0
        """Answers asked for and not ended, waiting ones included."""
        self.resumed = 0
        """Requests that another worker went on with."""
        self._queue = queue
        self._wait = wait
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._answer_seconds = 1.0

    async def stop(self, drain: float = 0.0) -> None:
        """Refuse new requests, give running ones `drain` seconds, then end the worker. May be called again."""
        await self._enter("stopped")
        await within(drain, self._quiet.wait())
        await self._stop()

    async def end(self) -> None:
        """As `stop`, without any patience: nothing is kept on disk either."""
        if self._worker:
            self._worker.kill(STOPPED)
        await self.stop()

    async def ready(self) -> ModelInfo:
        """The loaded model. Raises NotReady, ShuttingDown, or what failed the loading."""
        return (await self._ready_worker(time.monotonic() + self._wait))[1]

    async def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        n: int = 1,
        add_bos: bool = True,
        structured: StructuredOutput = UNCONSTRAINED,
    ) -> AsyncGenerator[Delta, None]:
        """Deltas of all n answers, until each has had its `finish`.

        Closing the iterator, or cancelling the task it runs in, cancels the request in the worker.
        QueueFull (with `retry_after`) and ContextLengthExceeded are raised before the first delta.
        """
        await self.ready()
        self._check_queue(n)
        self._count(n)
        started = time.monotonic()
        asked = Generation(prompt, params, n, add_bos, structured)
        try:
            async with aclosing(self._exchange(asked)) as replies:
                async for reply in replies:
                    assert isinstance(reply, Step)
                    for delta in reply.deltas:
                        asked.note(delta)
                        self._count(-(delta.finish is not None))
                        yield delta
                    if not asked.left:
                        self._answer_seconds += 0.2 * (time.monotonic() - started - self._answer_seconds)
                        return
        finally:
            self._count(-asked.left)

    async def tokenize(self, prompt: list[Span], *, add_bos: bool = False) -> Tokens:
        return (await self._ask(lambda id: Tokenize(id, prompt, add_bos), Tokenized)).tokens

    async def detokenize(self, tokens: list[int]) -> str:
        return (await self._ask(lambda id: Detokenize(id, tokens), Detokenized)).text

    async def embed(self, inputs: list[Prompt]) -> Embeddings:
        return (await self._ask(lambda id: Embed(id, inputs), Embedded)).embeddings

    async def _ask(self, make: Callable[[int], Message], kind: type[R]) -> R:
        async with aclosing(self._exchange(Asked(make))) as replies:
            async for reply in replies:
                assert isinstance(reply, kind)
                return reply
        raise AssertionError("an exchange does not end by itself")

    async def _exchange(self, asked: Asked) -> AsyncGenerator[ToDaemon, None]:
        """As Worker.exchange, with as many workers as it takes."""
        file = None
        try:
            while True:
                worker = await self._place(asked, again=file is not None)
                if file not in (None, worker.file):
                    raise ShuttingDown("the model was replaced before this answer was done", retry_after=1)
                file = worker.file
                self.resumed += asked.begun
                with contextlib.suppress(WorkerDied):
                    async with aclosing(worker.exchange(asked)) as replies:
                        async for reply in replies:
                            yield reply
        finally:
            self._suspects.clear(asked)

    async def _place(self, asked: Asked, again: bool) -> Worker:
        """A worker to ask now. `again`: one has died over it, and it waits for as long as there is hope."""
        end = math.inf if again else time.monotonic() + self._wait
        while True:
            if asked.guilty is not None:
                raise WorkerDied(
                    f"the model's process died of this request: {asked.guilty}",
                    hint="it would do so again; what it died of is in the log: edgeinfer logs",
                )
            worker, _ = await self._ready_worker(end)
            if self._suspects.admit(asked):
                return worker
            if time.monotonic() >= end:
                raise NotReady("the model is busy finding out which request kills it", retry_after=5)
            await within(_left(end), self._suspects.change())

    async def _ready_worker(self, end: float) -> tuple[Worker, ModelInfo]:
        """Waits until `end`; if that is never, until there is no hope left."""
        hopeless = self.HOPE if end == math.inf else math.inf

        def settled() -> bool:
            given_up = self.state in ("failed", "stopped") or self.failed_starts >= hopeless
            return self.info is not None or given_up

        while not settled() and time.monotonic() < end:
            await within(_left(end), self._until_changed(settled))
        if self.state == "stopped":
            raise shutting_down()
        if self._worker is not None and self.info is not None:
            return self._worker, self.info
        if self.load_error and (self.state == "failed" or self.failed_starts >= hopeless):
            raise self.load_error
        hint = "GET /ready tells when"
        raise NotReady(f"the model is not ready ({self.state})", hint=hint, retry_after=5)

    async def _until_changed(self, settled: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(settled)

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


def _left(end: float) -> float | None:
    """Seconds until `end` by the monotonic clock, None where it never comes."""
    return None if end == math.inf else max(0.0, end - time.monotonic())
