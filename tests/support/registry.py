"""For the tests of serving/: a registry of three models, whose engines follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.fake import SCRIPTED_MODEL, FakeEngineClient
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from edgeinfer.server.state import AppState
from edgeinfer.serving.fake import FakeEngines
from edgeinfer.serving.model import ServedModel
from edgeinfer.settings import Settings

PARAMS = SamplingParams()


class HeldEngineClient(FakeEngineClient):
    """Stays in the state "starting"."""

    async def start(self) -> None: ...


class World:
    """A registry of the models a, b and c, of which two fit at once; a is the default one.

    Attributes:
        clients: every engine that was opened, by model.
        broken: models that fail to load.
        held: models whose engines do not become ready before `release`.
    """

    def __init__(self, **settings: Any) -> None:
        self.clients: dict[str, list[FakeEngineClient]] = {}
        self.broken: set[str] = set()
        self.held: set[str] = set()
        self.engines = FakeEngines({name: partial(self.client, name) for name in "abc"})
        self.engines.capacity = 2
        self.state = AppState(Settings(model="a", **settings), {}, self.engines, lambda _: self.engines, "a")
        self.registry, self.loader = self.state.registry, self.state.loader

    def client(self, name: str) -> FakeEngineClient:
        model = replace(SCRIPTED_MODEL, name=name, revision=f"{name}1")
        engine = (HeldEngineClient if name in self.held else FakeEngineClient)(name, "!", model=model)
        if name in self.broken:
            engine.state, engine.last_error = "failed", ModelLoadFailed(f"{name} is broken")
        self.clients.setdefault(name, []).append(engine)
        return engine

    def release(self, name: str) -> None:
        """The engine of a model that is held becomes ready."""
        assert self.clients[name][-1].state == "starting"
        self.clients[name][-1].state = "ready"

    def get(self, name: str) -> ServedModel:
        return self.registry.get(name)

    @property
    def loaded(self) -> list[str]:
        return [model.name for model in self.loader.loaded]

    async def ask(self, name: str) -> str:
        """A whole answer."""
        model = self.get(name)
        info = await model.ready()
        deltas = model.generate("somebody", [[Span("Hi")]], PARAMS, info=info)
        return "".join([delta.text async for delta in deltas])


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    made = World(**settings)
    try:
        yield made
    finally:
        await made.state.stop()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.005)
