"""For tests of the server: a daemon with several models, of which one is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.fake import FakeEngineClient
from edgeinfer.server.build import build_app
from edgeinfer.server.state import AppState
from edgeinfer.serving.fake import FakeEngines
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import bundled_file
from tests.support.server import Scripted, Served, eventually, serving

NAMES = ("first", "nano", "broken", "bad", "gone")


def engine(name: str) -> FakeEngineClient:
    client = Scripted("Hel", "lo")
    client.model = replace(client.model, name=name, path=f"/models/{name}.gguf")
    if name == "broken":
        client.state, client.last_error = "failed", ModelLoadFailed("broken is broken")
    return client


def engines(make: Callable[[str], FakeEngineClient] = engine) -> FakeEngines:
    """The model "nano" has a file that can be read; those of "bad" and "gone" cannot be."""
    made = FakeEngines({name: partial(make, name) for name in NAMES})
    made.files = {"nano": bundled_file(), "bad": __file__, "gone": "/nowhere/model.gguf"}
    return made


@contextmanager
def several(fakes: FakeEngines | None = None, **settings: Any) -> Iterator[Served]:
    """The model "first" is loaded."""
    fakes = fakes or engines()
    values = Settings(model="first", port=0, drain_timeout=1.0, **settings)
    state = AppState(values, {}, fakes, lambda _: fakes, "first")
    with serving(engine("first"), build_app(state, warm_up=False)) as daemon:
        assert eventually(lambda: state_of(daemon, "first") == "ready")
        yield daemon


def state_of(served: Served, name: str) -> str:
    card = served.client.get(f"/v1/models/{name}").json()
    found: str = card["status"]["state"]
    return found
