"""The models of one node: planned, loaded and unloaded as the daemon does it, but without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from edgeinfer.inference.client import EngineClient
from edgeinfer.inference.types import ModelInfo
from edgeinfer.metrics import Metrics
from edgeinfer.server.engines import InstalledModels, LocalEngines
from edgeinfer.serving.caller import Caller
from edgeinfer.serving.loader import ModelLoader
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import ModelRegistry
from edgeinfer.serving.services import Services
from edgeinfer.settings import Settings


class NodeModels:
    """What this node can answer with. Only its default model is loaded at once, others when they are asked for."""

    def __init__(self, settings: Settings, name: str | None = None) -> None:
        """`name`: of the default model in requests, in place of that which its table or its file gives it.

        Raises ModelNotFound, ModelLoadFailed or DoesNotFit: the default model cannot be loaded here.
        """
        engines = LocalEngines(settings)
        own, mine = settings.default_model()
        self._plan = engines.planner(name or own, mine)([], [])
        self._services = Services(settings, Metrics(lambda: self._registry.served()))
        self._loader = ModelLoader(engines, settings.load_timeout)
        self._drain = settings.drain_timeout
        self._registry = ModelRegistry(
            settings,
            self._plan.config.name,
            names=InstalledModels,
            loader=self._loader,
            services=self._services,
        )

    async def start(self) -> None:
        """Load the default model. If that fails, requests for it get the error."""
        await asyncio.wait([self._loader.start(self._registry.default, self._plan)])

    @property
    def default(self) -> ServedModel:
        return self._registry.default

    def served(self) -> list[ServedModel]:
        return list(self._registry.served())

    def names(self) -> list[str]:
        """Every name that can be asked for here."""
        return [model.name for model in self._registry.all()]

    async def ready(self, name: str) -> tuple[ServedModel, ModelInfo]:
        """The model that is called `name`, loaded if need be.

        Raises:
            ModelNotFound: there is none of that name here.
            EdgeinferError: why it cannot be loaded.
        """
        model = self._registry.get(name)
        return model, await model.ready()

    @asynccontextmanager
    async def in_turn(
        self, model: ServedModel, caller: str, n: int = 1
    ) -> AsyncGenerator[EngineClient, None]:
        """The engine of `model`, once it is the caller's turn; the model stays loaded meanwhile."""
        async with model.queue.take(Caller(caller), n):
            yield await self._loader.client(model)

    async def close(self) -> None:
        """Let running answers finish, for as long as the settings allow, and end the engines."""
        await self._loader.close(self._drain)
        await self._services.aclose()
