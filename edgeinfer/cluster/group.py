"""The replicas of one hardware class, as the ingress calls them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol


class ReplicaLost(Exception):
    """A replica or its node ended, or gives no sign of life. Another one may continue."""


class ReplicaGroup(Protocol):
    """Calls one of its replicas, which a router chooses by the routing key."""

    @property
    def hardware_class(self) -> str: ...

    def stream(self, call: bytes, key: bytes) -> AsyncGenerator[bytes, None]:
        """The frames of an answer. Closing this cancels the answer.

        Raises:
            ReplicaLost: the replica ended, or there is none.
        """
        ...

    async def ask(self, call: bytes, key: bytes) -> bytes:
        """The only reply to a call. Raises ReplicaLost as `stream` does."""
        ...

    async def statuses(self, waiting: int = 0) -> Sequence[bytes]:
        """The status of each replica that answers in time; all are told how many requests wait here.

        Raises:
            ReplicaLost: none of them answers.
        """
        ...
