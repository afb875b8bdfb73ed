"""Where a request may go next: the groups that are left to try, and the error if there are none."""

from __future__ import annotations

import time
from collections import Counter

from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.group import ReplicaGroup
from edgeinfer.cluster.routing import RoutingKey
from edgeinfer.errors import (
    ContextLengthExceeded,
    DoesNotFit,
    EdgeinferError,
    ModelLoadFailed,
    ModelNotFound,
    NotReady,
    QueueFull,
)

ELSEWHERE = (ContextLengthExceeded, DoesNotFit, ModelLoadFailed, ModelNotFound, NotReady, QueueFull)
"""Errors of a replica that another one need not have."""

PAUSE = 1.0
"""Seconds to wait for a replica where there is none to try."""


class ReplicaSearch:
    """The way of one request through the fleet."""

    def __init__(self, fleet: Fleet, key: RoutingKey, patience: float) -> None:
        """`patience`: seconds without progress after which the request fails."""
        self._fleet = fleet
        self._key = key
        self._patience = patience
        self._since = time.monotonic()
        self._failed: Counter[str] = Counter()
        self._error: EdgeinferError | None = None

    async def next(self) -> ReplicaGroup:
        """The group to try next.

        Raises:
            EdgeinferError: none can answer, or none has for too long.
        """
        while True:
            groups = self._fleet.groups(self._key)
            for group in groups:
                if self._failed[group.hardware_class] < max(1, self._fleet.size(group)):
                    return group
            if groups and self._error and not isinstance(self._error, NotReady):
                raise self._error
            await self._wait()
            self._failed.clear()

    async def _wait(self) -> None:
        """Give the fleet a moment to change. Raises NotReady: it has had enough of them."""
        if time.monotonic() - self._since > self._patience:
            raise self._error or NotReady(
                f"no node of the cluster answers for {self._key.model}",
                hint="edgeinfer cluster status shows the nodes",
                retry_after=5,
            )
        await self._fleet.changed(PAUSE)

    def refused(self, group: ReplicaGroup, error: EdgeinferError) -> None:
        """A replica of `group` cannot answer. Raises the error unless another replica may not have it."""
        if not isinstance(error, ELSEWHERE):
            raise error
        self._failed[group.hardware_class] += 1
        self._error = error

    def lost(self, group: ReplicaGroup) -> None:
        """A replica of `group` was lost, or there is none."""
        self._failed[group.hardware_class] += 1

    def progress(self) -> None:
        """A part of the answer has come."""
        self._since = time.monotonic()
        self._failed.clear()
