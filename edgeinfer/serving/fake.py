"""Fake engines for tests of the registry and of the service without a model."""

# ruff: noqa: ARG002 (the protocols have arguments that a script does not need)
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import DoesNotFit, ModelNotFound
from edgeinfer.inference.client import EngineClient
from edgeinfer.inference.types import ModelInfo
from edgeinfer.plan import MemoryEstimate, Plan
from edgeinfer.serving.engines import Planner, RunningEngine
from edgeinfer.settings import Settings


class FakeEngines:
    """Implements EngineFactory and ModelNames. `clients` are the engines, by the name that requests use.

    Attributes:
        sizes: bytes that a model takes; 1 by default.
        capacity: bytes that all loaded models may take together; None means no limit.
        opened: names of the models that were loaded, in order.
        files: their files; a model without one has no facts until it is loaded.
    """

    def __init__(self, clients: Mapping[str, Callable[[], EngineClient]]) -> None:
        self.clients = clients
        self.sizes: dict[str, int] = {}
        self.capacity: int | None = None
        self.opened: list[str] = []
        self.files: dict[str, str] = {}

    def planner(self, name: str | None, settings: Settings) -> Planner:
        served = name or settings.model or next(iter(self.clients))
        if served not in self.clients:
            raise ModelNotFound(f"no model {served!r}", param="model")

        def planned(staying: Sequence[RunningEngine], leaving: Sequence[RunningEngine]) -> Plan:  # noqa: ARG001
            size = self.sizes.get(served, 1)
            taken = sum(engine.plan.memory.needed for engine in staying)
            if self.capacity is not None and size + taken > self.capacity:
                raise DoesNotFit(f"{served} does not fit", param="model")
            config = LlamaConfig(model=served, name=served)
            return Plan(config, ["ctx 4096: asked for"], memory=MemoryEstimate(size), fits=True)

        return planned

    def open(self, plan: Plan, settings: Settings) -> EngineClient:
        self.opened.append(plan.config.name)
        return self.clients[plan.config.name]()

    async def replace(
        self,
        client: EngineClient,
        plan: Plan,
        *,
        beside: bool,
        drain: float,
        switched: Callable[[], None],
    ) -> ModelInfo:
        switched()
        return await client.ready()

    def resolve(self, name: str) -> str | None:
        return name if name in self.clients else None

    def installed(self) -> Sequence[str]:
        return list(self.clients)

    def file(self, name: str) -> str | None:
        return self.files.get(name)
