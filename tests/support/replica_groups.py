"""A group of replicas without Ray: fake engines that can be lost, cut off or slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from edgeinfer.backends.llama_cpp.messages import Failed, Generate
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.group import ReplicaLost
from edgeinfer.cluster.messages import (
    ReplicaModel,
    ReplicaStatus,
    Source,
    Started,
    Streamed,
    encode,
    to_replica,
)
from edgeinfer.errors import EdgeinferError, ModelReplaced
from edgeinfer.inference.fake import SCRIPTED_MODEL, FakeEngineClient


class ScriptedGroup:
    """Implements ReplicaGroup with one replica, whose engine writes a word for each piece.

    Attributes:
        loses_after: pieces after which the replica is gone; None never.
        silent_after: pieces after which nothing more comes, not even a sign of life.
        error: what it answers instead.
        calls: the requests it got.
        cancelled: streams that were closed before their end.
    """

    def __init__(self, hardware_class: str, weights: str = "w", pieces: Sequence[str] = ()) -> None:
        self.hardware_class = hardware_class
        self.engine = FakeEngineClient(*(pieces or ["one ", "two ", "three ", "four"]))
        self.source = Source(
            f"replica-{hardware_class}",
            "id",
            f"node-{hardware_class}",
            hardware_class,
            weights,
            f"scripted {weights}",
        )
        self.loses_after: int | None = None
        self.silent_after: int | None = None
        self.error: EdgeinferError | None = None
        self.calls: list[Generate] = []
        self.cancelled = 0

    async def stream(self, call: bytes, key: bytes) -> AsyncGenerator[bytes, None]:
        request = to_replica.decode(call)
        message = request.message
        assert isinstance(message, Generate)
        self.calls.append(message)
        if self.error:
            yield encode(Failed(message.id, self.error.data()))
            return
        if request.weights not in ("", self.source.weights):
            error = ModelReplaced(f"{self.source.node} has another file")
            yield encode(Failed(message.id, error.data()))
            return
        yield encode(Started(message.id, self.source))
        deltas = self.engine.generate(
            message.prompt, message.params, n=message.n, partial_answers=message.partial_answers
        )
        count, ended = 0, False
        try:
            async with aclosing(deltas):
                async for delta in deltas:
                    if count == self.loses_after:
                        raise ReplicaLost("it was killed")
                    if count == self.silent_after:
                        await asyncio.Event().wait()
                    count += 1
                    yield encode(Streamed(message.id, [delta]))
            ended = True
        finally:
            self.cancelled += not ended

    async def ask(self, call: bytes, key: bytes) -> bytes:
        raise ReplicaLost("it answers no questions")

    async def statuses(self, waiting: int = 0) -> Sequence[bytes]:
        model = ReplicaModel("scripted", "ready", SCRIPTED_MODEL.ctx, SCRIPTED_MODEL.parallel)
        return [encode(ReplicaStatus(self.source, "1", [model], ["scripted"]))]


async def fleet_of(*groups: ScriptedGroup) -> Fleet:
    """A fleet of these groups, which it has looked at once."""

    async def discover() -> tuple[ScriptedGroup, ...]:
        return groups

    fleet = Fleet(discover)
    await fleet.update()
    return fleet
