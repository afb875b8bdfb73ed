"""Which model an ingress answers with by default, and which one it tries: both may change while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from msgspec.structs import replace

from edgeinfer.cluster.canary import Canary
from edgeinfer.cluster.canary_split import CanarySplit
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.errors import EdgeinferError
from edgeinfer.server.state import AppState
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import default_settings

PAUSE = 5.0
"""Seconds between two attempts."""

UNLOAD = 60.0
"""Seconds for requests that come for the old model by its name just when it ends."""

logger = logging.getLogger(__name__)


class FleetVersions:
    """Follows the fleet's configuration. Requests go on, with the old model until the new one can answer."""

    def __init__(self, state: AppState, fleet: Fleet) -> None:
        self._state = state
        self._fleet = fleet
        self._split = CanarySplit(state.registry, fleet)
        state.stand_in = self._split.stand_in
        self._switching: asyncio.Task[None] | None = None

    def change(self, model: str, canary: Canary | None) -> None:
        """Answer with `model` from the moment when most replicas serve it, and with `canary` from now on."""
        self._split.canary = canary
        if self._switching:
            self._switching.cancel()
        self._switching = asyncio.create_task(self._switch(model))

    def close(self) -> None:
        if self._switching:
            self._switching.cancel()

    async def _switch(self, model: str) -> None:
        state = self._state
        old = state.registry.default
        if model == old.name:
            return
        while not self._most_serve(model) or not await self._is_ready(model):
            await self._fleet.changed(PAUSE)
        state.settings = replace(state.settings, model=model)
        state.registry.configure(state.settings, model)
        logger.info("serving %s from now on, and no longer %s", model, old.name)
        while not await old.quiet(UNLOAD):
            pass
        await state.loader.unload(old, UNLOAD)

    def _most_serve(self, model: str) -> bool:
        """Whether as many replicas were told to serve `model` as any other: until then the old ones have more room."""
        counts = Counter(replica.serves for replica in self._fleet.replicas)
        return counts[model] == max(counts.values(), default=1)

    async def _is_ready(self, name: str) -> bool:
        model = self._prepared(name)
        try:
            if model.client is None:
                await asyncio.shield(self._state.loader.start(model))
        except EdgeinferError as e:
            logger.warning("%s cannot be served yet: %s", name, e.message)
            return False
        return model.state == "ready"

    def _prepared(self, name: str) -> ServedModel:
        settings = replace(self._state.settings, model=name)
        return self._state.registry.prepare(name, default_settings(settings, name))
