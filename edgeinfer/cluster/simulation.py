"""An engine without a model whose tokens cost time, for experiments with large fleets."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from edgeinfer.inference.fake import SCRIPTED_MODEL, FakeEngineClient
from edgeinfer.serving.fake import FakeEngines


class SimulatedEngine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every answer takes.

    Attributes:
        tokens: of an answer.
        seconds_per_token: time between two of them, however many answers run.
        parallel: answers at once.
    """

    tokens: int = 32
    seconds_per_token: float = 0.01
    parallel: int = 4


def simulated_engines(engine: SimulatedEngine, name: str | None) -> FakeEngines:
    """Engines for one model, called `name` or else "simulated"."""
    name = name or "simulated"
    model = replace(SCRIPTED_MODEL, name=name, parallel=engine.parallel)

    def client() -> FakeEngineClient:
        pieces = [f"{number} " for number in range(engine.tokens)]
        fake = FakeEngineClient(*pieces, model=model)
        fake.hold_each = engine.seconds_per_token
        return fake

    return FakeEngines({name: client})
