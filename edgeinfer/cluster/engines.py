"""The fleet's models for the registry: planned and loaded by the replicas, not here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.cluster.answer import LossPolicy
from edgeinfer.cluster.client import FleetClient, describe
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.messages import Described
from edgeinfer.inference.client import EngineClient
from edgeinfer.inference.types import ModelInfo
from edgeinfer.plan import MemoryEstimate, Plan
from edgeinfer.serving.engines import Planner, RunningEngine
from edgeinfer.settings import Settings


class FleetEngines:
    """An EngineFactory whose engines are replicas on other nodes."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._loop = asyncio.get_running_loop()
        self._described: dict[str, Described] = {}

    def planner(self, name: str | None, settings: Settings) -> Planner:
        """What a replica says of the model, as a plan that takes no memory of this machine."""
        served = name or settings.model
        assert served
        asked = describe(self._fleet, served, settings.load_timeout)
        described = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        self._described[served] = described
        info, source = described.info, described.source
        plan = Plan(
            LlamaConfig(model=info.path, name=served, ctx=info.ctx, parallel=info.parallel),
            [f"each node has a plan of its own; {source.node} ({source.hardware_class}) has said what it is"],
            tool_format=described.tool_format,
            defaults=described.defaults,
            memory=MemoryEstimate(0),
            fits=True,
        )

        def planned(staying: Sequence[RunningEngine], leaving: Sequence[RunningEngine]) -> Plan:  # noqa: ARG001
            return plan

        return planned

    def open(self, plan: Plan, settings: Settings) -> EngineClient:
        policy = LossPolicy(settings.on_node_loss, settings.node_timeout)
        described = self._described[plan.config.name]
        return FleetClient(self._fleet, described, policy)

    async def replace(
        self,
        client: EngineClient,
        plan: Plan,  # noqa: ARG002  # each replica has its own
        *,
        beside: bool,  # noqa: ARG002
        drain: float,  # noqa: ARG002
        switched: Callable[[], None],
    ) -> ModelInfo:
        switched()
        return await client.ready()


class FleetModels:
    """Implements ModelNames with what the replicas have."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def resolve(self, name: str) -> str | None:
        return name if name in self._fleet.names() else None

    def installed(self) -> Sequence[str]:
        return self._fleet.names()

    def file(self, name: str) -> str | None:  # noqa: ARG002  # it is on other machines
        return None
