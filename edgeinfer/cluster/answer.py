"""Answers to one request, from one replica after the other if need be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import Failed, Generate
from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.group import ReplicaGroup, ReplicaLost
from edgeinfer.cluster.messages import Call, Frame, Source, Started, encode, to_stream
from edgeinfer.cluster.replica_search import ReplicaSearch
from edgeinfer.cluster.routing import RoutingKey
from edgeinfer.errors import EdgeinferError, NotReady, WorkerDied, revive
from edgeinfer.inference.output import Delta

OnNodeLoss = Literal["resume", "same-model", "fail"]

BEATS = 4
"""Signs of life that a replica sends in the time after which it counts as lost."""

PATIENCE = 60.0
"""Seconds that a request waits for a replica that can begin its answer, or continue it."""

logger = logging.getLogger(__name__)


class LossPolicy:
    """What becomes of an answer whose replica is lost.

    Attributes:
        on_loss: another one continues it, only one with the same model file does, or none.
        timeout: seconds without a sign of life after which a replica counts as lost.
    """

    def __init__(self, on_loss: OnNodeLoss = "same-model", timeout: float = 10.0) -> None:
        self.on_loss = on_loss
        self.timeout = timeout

    @property
    def beat(self) -> float:
        """Seconds between two signs of life."""
        return self.timeout / BEATS


class FleetAnswer:
    """Takes an answer from one replica at a time. What an earlier one may still send is never read.

    Attributes:
        resumed: times that another replica has continued it.
        sources: the replicas that have written it, the first one first.
    """

    def __init__(
        self,
        fleet: Fleet,
        request: ResumableGeneration,
        key: RoutingKey,
        prompt_format: str,
        policy: LossPolicy,
    ) -> None:
        self.resumed = 0
        self.sources: list[Source] = []
        self._fleet = fleet
        self._request = request
        self._key = key
        self._prompt_format = prompt_format
        self._policy = policy
        self._weights = ""

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """The deltas of all answers, until each has had its finish.

        Raises:
            WorkerDied: the replica was lost, and the settings do not let another one continue.
            EdgeinferError: no replica can answer.
        """
        search, attempt = ReplicaSearch(self._fleet, self._key, PATIENCE), 0
        while self._request.unfinished:
            attempt += 1
            group, begun = await search.next(), False
            try:
                async with aclosing(self._attempt(group, attempt)) as deltas:
                    async for delta in deltas:
                        if not begun:
                            self._fleet.affinity.record(self._key, group.hardware_class)
                        begun = True
                        search.progress()
                        self._request.note(delta)
                        yield delta
            except ReplicaLost as e:
                logger.warning("attempt %d of a request to %s was lost: %s", attempt, self._key.model, e)
                self._lost(str(e))
                search.lost(group)
            except EdgeinferError as e:
                if isinstance(e, NotReady):
                    self._lost(e.message)
                search.refused(group, e)

    async def _attempt(self, group: ReplicaGroup, attempt: int) -> AsyncGenerator[Delta, None]:
        message = self._request.message(attempt)
        assert isinstance(message, Generate)
        call = Call(self._key.model, message, self._prompt_format, self._weights, self._policy.beat)
        self._fleet.outstanding[group.hardware_class] += 1
        try:
            async with aclosing(group.stream(encode(call), encode(self._key))) as frames:
                while frame := await self._next(frames):
                    if isinstance(frame, Failed):
                        raise revive(frame.error)
                    if isinstance(frame, Started):
                        self._started(frame.source)
                        continue
                    for delta in frame.deltas:
                        yield self._with_models(delta)
        finally:
            self._fleet.outstanding[group.hardware_class] -= 1
        if self._request.unfinished:
            raise ReplicaLost("its stream ended early")

    async def _next(self, frames: AsyncGenerator[bytes, None]) -> Frame | None:
        """The next frame; None at the end. Raises ReplicaLost: there has been no sign of life for too long."""
        reading = asyncio.ensure_future(anext(frames, None))
        try:
            if not await wait_with_timeout(self._policy.timeout, reading):
                raise ReplicaLost(f"there has been no sign of life for {self._policy.timeout:g} s")
        finally:
            await asyncio.wait([reading])  # or the generator could not be closed
        frame = reading.result()
        return to_stream.decode(frame) if frame is not None else None

    def _with_models(self, delta: Delta) -> Delta:
        """The delta, which says at the end of an answer if several model files have written it."""
        if not delta.finish or len({source.weights for source in self.sources}) == 1:
            return delta
        models = tuple(dict.fromkeys(source.description for source in self.sources))
        return replace(delta, finish=replace(delta.finish, models=models))

    def _started(self, source: Source) -> None:
        self.resumed += bool(self.sources)
        self.sources.append(source)

    def _lost(self, why: str) -> None:
        """Note that the replica was lost. Raises WorkerDied: that is the end of its answer."""
        if not self._request.has_output:
            return
        source = self.sources[-1]
        if self._policy.on_loss == "fail":
            raise WorkerDied(
                f"{source.node}, which was computing this answer, is gone: {why}",
                hint='with on_node_loss = "same-model" another node continues such answers',
            )
        if self._policy.on_loss == "same-model":
            self._weights = source.weights
