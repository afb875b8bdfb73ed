"""For the tests of the server: an engine that follows a script, and the daemon on a real socket around it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.inference.fake import SCRIPTED_MODEL, FakeEngineClient
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.build import build_app
from edgeinfer.server.http.sockets import address, bind
from edgeinfer.server.run import Server
from edgeinfer.server.state import AppState
from edgeinfer.serving.fake import FakeEngines
from edgeinfer.settings import Settings

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if style is defined %}({{ style }}){% endif %}{% if add_generation_prompt %}[assistant]{% endif %}"
)

INFO = replace(
    SCRIPTED_MODEL,
    control_tokens=("<|end|>",),
    chat_templates={"default": TEMPLATE},
    sampling={"temperature": 0.6, "top_k": 20.0},
)

Event = dict[str, Any]


class Scripted(FakeEngineClient):
    """The fake engine with a model that has a chat template."""

    def __init__(self, *pieces: str, info: ModelInfo = INFO) -> None:
        super().__init__(*pieces, model=info)


def service(engine: FakeEngineClient | LlamaClient, **settings: Any) -> AppState:
    """The state of a service with one model, which `engine` answers for."""
    name = engine.model.name if isinstance(engine, FakeEngineClient) else engine.config.name
    engines = FakeEngines({name: lambda: engine})
    values = Settings(model=name, port=0, drain_timeout=1.0, **{"ctx": 4096, **settings})
    return AppState(values, {"ctx": "flag"}, engines, NoModels, name)


class NoModels:
    """Implements ModelNames: nothing is installed."""

    def __init__(self, _settings: Settings) -> None: ...

    def resolve(self, name: str) -> str | None:
        return None

    def installed(self) -> Sequence[str]:
        return []

    def file(self, name: str) -> str | None:
        return None


def application(engine: FakeEngineClient | LlamaClient, **settings: Any) -> FastAPI:
    """The app, without the warm-up: it starts a template process, which few tests need."""
    return build_app(service(engine, **settings), warm_up=False)


class Served:
    """The daemon on a loopback port. `client` speaks to it."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self.url = url
        self.client = client

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def chat(self, text: str = "Hi", **fields: Any) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        return self.client.post("/v1/chat/completions", json={"messages": messages, **fields})

    def complete(self, prompt: Any = "Once", **fields: Any) -> httpx.Response:
        return self.client.post("/v1/completions", json={"prompt": prompt, **fields})


@contextmanager
def serving(
    engine: FakeEngineClient | LlamaClient, app: FastAPI | None = None, **settings: Any
) -> Iterator[Served]:
    app = app or application(engine, **settings)
    state: AppState = app.state.edgeinfer
    server, sockets = Server(state, lambda: app), bind(Settings(port=0))
    url = address(sockets[0])
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    eventually(lambda: state.starting and state.starting.done(), 2.0)  # unless the model's loading is held up
    try:
        with httpx.Client(base_url=url, timeout=30) as client:
            yield Served(url, client)
    finally:
        server.should_exit = True
        thread.join()


def error(response: httpx.Response) -> dict[str, Any]:
    """The envelope's content."""
    found: dict[str, Any] = response.json()["error"]
    return found


def parse(stream: str) -> list[Event]:
    """The JSON events of a stream, less [DONE]."""
    data = [line.removeprefix("data: ") for line in stream.split("\n\n") if line.startswith("data: ")]
    return [json.loads(d) for d in data if d != "[DONE]"]


def eventually(condition: Callable[[], object], timeout: float = 5.0) -> bool:
    """Whether `condition` comes true in time."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(LookupError):
            if condition():
                return True
        time.sleep(0.01)
    return bool(condition())
