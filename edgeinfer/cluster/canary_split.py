"""Lets a new version of the fleet's model answer a share of the conversations."""

from __future__ import annotations

import hashlib
import secrets

from edgeinfer.cluster.canary import Canary
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.errors import EdgeinferError
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import ModelRegistry

POINTS = 1 << 64


class CanarySplit:
    """Chooses between the fleet's own model and its canary.

    Attributes:
        canary: None if there is none.
    """

    def __init__(self, registry: ModelRegistry, fleet: Fleet) -> None:
        self.canary: Canary | None = None
        self._registry = registry
        self._fleet = fleet

    def stand_in(self, model: ServedModel, session: str) -> ServedModel:
        """The canary for `model`, or `model` itself. A conversation with a name stays with one of them.

        It stays with the canary when the weight grows. As long as no canary is ready, there is none to stand in.
        """
        canary = self.canary
        if not canary or model is not self._registry.default or point(session) >= canary.weight / 100:
            return model
        if all(replica.state != "ready" for replica in self._fleet.models(canary.model)):
            return model
        try:
            found = self._registry.get(canary.model)
            if found.client is None:
                self._registry.loader.start(found)
        except EdgeinferError:
            return model
        return found if found.state == "ready" else model


def point(session: str) -> float:
    """Where a conversation is between 0 and 1: the same on all ingresses. One without a name is anywhere."""
    seed = session.encode() or secrets.token_bytes(8)
    return int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big") / POINTS
