"""Protocols for planning, opening and replacing engines, which the registry depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from edgeinfer.inference.client import EngineClient
from edgeinfer.inference.types import ModelInfo
from edgeinfer.plan import Plan
from edgeinfer.plan.own_memory import ModelMemory, model_memory
from edgeinfer.settings import Settings


class RunningEngine(NamedTuple):
    """An engine that holds memory, and the plan it was opened with."""

    client: EngineClient
    plan: Plan


def memory_of(engine: RunningEngine) -> ModelMemory:
    """The memory that an engine was planned to take, and holds now."""
    return model_memory(engine.plan.memory, engine.client.health.pid)


class Planner(Protocol):
    """Plans one model on the machine as it was seen a moment ago."""

    def __call__(self, staying: Sequence[RunningEngine], leaving: Sequence[RunningEngine]) -> Plan:
        """The plan beside `staying` engines, once the `leaving` ones have given their memory back.

        Raises:
            DoesNotFit: the model needs more than that.
        """
        ...


class EngineFactory(Protocol):
    """Makes engines for models."""

    def planner(self, name: str | None, settings: Settings) -> Planner:
        """Read the model's file and examine the machine; blocks. The model is served as `name` (None: its file's name).


        Raises:
            ModelNotFound, ModelLoadFailed: the model does not exist, or its file is broken.
        """
        ...

    def open(self, plan: Plan, settings: Settings) -> EngineClient:
        """An engine for `plan`, not yet started; `settings` are those of the plan."""
        ...

    async def replace(
        self,
        client: EngineClient,
        plan: Plan,
        *,
        beside: bool,
        drain: float,
        switched: Callable[[], None],
    ) -> ModelInfo:
        """Restart the engine of `client` with `plan`, continuing its answers if that is possible.

        `beside`: there is memory for both. `switched` is called when new requests begin to go to the new engine.

        Raises:
            EdgeinferError: the cause of a failure. The engine continues as before.
        """
        ...


class ModelNames(Protocol):
    """Names of the models that are installed."""

    def resolve(self, name: str) -> str | None:
        """The full name (NAME:QUANT) of the installed model that `name` means; None where there is none."""
        ...

    def installed(self) -> Sequence[str]:
        """Full names of all installed models, oldest first."""
        ...

    def file(self, name: str) -> str | None:
        """The path of the file that `name` means; None where that is unknown."""
        ...
