"""A group of replicas behind a handle of Ray Serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from edgeinfer.cluster.group import ReplicaGroup, ReplicaLost

REPLICA = "EngineReplica"
"""Name of the deployment in each of a fleet's applications."""

STATUS_TIMEOUT = 2.0
"""Seconds that all replicas together have to tell their status."""

LOST = (RayError, RayServeException, TimeoutError, asyncio.TimeoutError)


class ServeGroup:
    """Implements ReplicaGroup."""

    def __init__(self, hardware_class: str, application: str) -> None:
        self.hardware_class = hardware_class
        self._handle = serve.get_deployment_handle(REPLICA, application)
        self._generate = self._handle.options(stream=True).generate
        self._ask = self._handle.ask

    async def stream(self, call: bytes, key: bytes) -> AsyncGenerator[bytes, None]:
        frames, ended = self._generate.remote(call, key), False
        try:
            async for frame in frames:
                yield frame
            ended = True
        except LOST as e:
            raise ReplicaLost(str(e)) from e
        finally:
            if not ended:
                frames.cancel()

    async def ask(self, call: bytes, key: bytes) -> bytes:
        reply, ended = self._ask.remote(call, key), False
        try:
            frame = bytes(await reply)
            ended = True
            return frame
        except LOST as e:
            raise ReplicaLost(str(e)) from e
        finally:
            if not ended:
                reply.cancel()

    async def statuses(self, waiting: int = 0) -> Sequence[bytes]:
        try:
            return await self._handle.broadcast("status", waiting).results_async(timeout_s=STATUS_TIMEOUT)  # type: ignore[no-any-return]
        except LOST as e:
            raise ReplicaLost(str(e)) from e


async def serve_groups(fleet: str) -> list[ReplicaGroup]:
    """The groups of a fleet that are deployed now."""
    status = await asyncio.to_thread(serve.status)
    prefix = f"{fleet}-"
    names = [name for name in status.applications if name.startswith(prefix)]
    return [ServeGroup(name.removeprefix(prefix), name) for name in names]
