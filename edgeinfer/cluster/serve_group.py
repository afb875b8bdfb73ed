"""A group of replicas behind a handle of Ray Serve."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence

import grpc
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from edgeinfer.cluster.group import ReplicaGroup, ReplicaLost

REPLICA = "EngineReplica"
"""Name of the deployment in each of a fleet's applications."""

STATUS_TIMEOUT = 2.0
"""Seconds that a replica has to tell its status."""

LOOK = 10.0
"""Seconds between two looks for groups: Ray Serve makes much work of its status."""

LOST = (RayError, RayServeException, grpc.RpcError, TimeoutError, asyncio.TimeoutError)


class ServeGroup:
    """Implements ReplicaGroup."""

    def __init__(self, hardware_class: str, application: str, *, in_loop: bool = False) -> None:
        """`in_loop`: the router runs in the event loop of the caller, which stays, and not in a thread of its own."""
        self.hardware_class = hardware_class
        self._handle = serve.get_deployment_handle(REPLICA, application)
        if in_loop:
            self._handle._init(_run_router_in_separate_loop=False)
        # With gRPC a token takes half of the processor time that it takes as one of Ray's objects.
        self._generate = self._handle.options(stream=True, _by_reference=False).generate
        self._ask = self._handle.options(_by_reference=False).ask

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
        """Those that come in time: a replica that hangs, or is lost, hides no other one."""
        try:
            asked = self._handle.broadcast("status", waiting)._fetch_replica_results_async()
            replicas = await asyncio.wait_for(asked, STATUS_TIMEOUT)
            replies = [asyncio.create_task(replica.get_async()) for replica in replicas]
            if not replies:
                return []
            told, late = await asyncio.wait(replies, timeout=STATUS_TIMEOUT)
        except LOST as e:
            raise ReplicaLost(str(e)) from e
        for reply in late:
            reply.cancel()
        found = [reply.result() for reply in told if reply.exception() is None]
        if not found:
            raise ReplicaLost("no replica tells its status")
        return found


class ServeGroups:
    """Finds the groups of a fleet that are deployed. It keeps their handles, which know their replicas."""

    def __init__(self, fleet: str, *, in_loop: bool = False) -> None:
        """`in_loop`: see `ServeGroup`."""
        self._prefix = f"{fleet}-"
        self._in_loop = in_loop
        self._groups: dict[str, ServeGroup] = {}
        self._looked = -math.inf

    async def __call__(self) -> list[ReplicaGroup]:
        if self._groups and time.monotonic() < self._looked + LOOK:
            return list(self._groups.values())
        status = await asyncio.to_thread(serve.status)
        self._looked = time.monotonic()
        names = [name for name in status.applications if name.startswith(self._prefix)]
        self._groups = {name: self._groups.get(name) or self._open(name) for name in names}
        return list(self._groups.values())

    def _open(self, name: str) -> ServeGroup:
        return ServeGroup(name.removeprefix(self._prefix), name, in_loop=self._in_loop)


async def serve_groups(fleet: str) -> list[ReplicaGroup]:
    """The groups of a fleet that are deployed now."""
    return await ServeGroups(fleet)()
