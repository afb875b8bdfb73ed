"""For the tests of the server: a supervisor that follows a script, and the daemon on a real socket around it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from edgeinfer.backends.llama_cpp.client import Supervisor
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import NotReady
from edgeinfer.inference.output import ChosenLogprob, Delta, EngineStats, Finish, Logprob
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import Embeddings, ModelInfo, Prompt, Span, Tokens
from edgeinfer.server.build import create_app
from edgeinfer.server.http.sockets import address, bind
from edgeinfer.server.run import Server
from edgeinfer.server.state import Choices
from edgeinfer.settings import Settings

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if style is defined %}({{ style }}){% endif %}{% if add_generation_prompt %}[assistant]{% endif %}"
)

INFO = ModelInfo(
    name="scripted",
    path="/models/scripted.gguf",
    architecture="script",
    description="a model that follows a script",
    n_params=1,
    size=4,
    vocab_size=258,
    n_embd=4,
    n_ctx_train=4096,
    ctx=4096,
    parallel=8,
    generates=True,
    add_bos=False,
    bos="",
    eos="",
    control_tokens=("<|end|>",),
    chat_templates={"default": TEMPLATE},
    sampling={"temperature": 0.6, "top_k": 20.0},
)

Event = dict[str, Any]


def delta(text: str, index: int = 0, logprobs: bool = False, finish: Finish | None = None) -> Delta:
    """A delta of one token for each character."""
    found = [ChosenLogprob(Logprob(ord(c), c.encode(), -0.5), []) for c in text]
    return Delta(1, index, text, [ord(c) for c in text], found if logprobs else None, finish)


def finish(tokens: int = 2, cached: int = 1) -> Finish:
    return Finish("stop", 5, cached, tokens, None, 1.0, 10.0, 20.0)


class Scripted(Supervisor):
    """Every answer is `pieces`, one delta each; the last carries the finish.

    Attributes:
        asked: (prompt, params, n) of each request.
        ended: requests that were closed, however they ended.
        running: requests under way.
    """

    def __init__(self, *pieces: str, info: ModelInfo = INFO) -> None:
        super().__init__(LlamaConfig(model=info.path, name=info.name), queue=8)
        self.pieces = pieces or ("Hel", "lo")
        self.given = info
        self.asked: list[tuple[Prompt, SamplingParams, int]] = []
        self.ended = 0
        self.running = 0
        self.before_first: Callable[[], Any] = lambda: None
        self.before_last: Callable[[], Any] = lambda: None
        self.hold_first = 0.0
        self.hold_each = 0.0

    @property
    def info(self) -> ModelInfo | None:
        return self.given if self.state == "ready" else None

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            running=self.running, cells=4096, cells_used=7, prompt_tokens_total=5, step_ms=12.5
        )

    @property
    def worker_pid(self) -> int | None:
        return None

    async def start(self) -> None:
        if self.state == "starting":
            self.state = "ready"

    async def stop(self, drain: float = 0.0) -> None:
        self.state = "stopped"

    async def ready(self) -> ModelInfo:
        if self.load_error:
            raise self.load_error
        if self.info is None:
            raise NotReady(f"the model is not ready ({self.state})", retry_after=7)
        return self.info

    async def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        n: int = 1,
        add_bos: bool = True,
        structured: StructuredOutput = UNCONSTRAINED,
    ) -> AsyncGenerator[Delta, None]:
        self.asked.append((prompt, params, n))
        self.structured = structured
        self.running += 1
        try:
            await asyncio.sleep(self.hold_first)
            self.before_first()
            for at, piece in enumerate(self.pieces):
                last = at == len(self.pieces) - 1
                if last:
                    self.before_last()
                for index in range(n):
                    end = finish(tokens=len(self.pieces), cached=1 if index == 0 else 4) if last else None
                    yield delta(piece, index, params.logprobs is not None, end)
                await asyncio.sleep(self.hold_each)
        finally:
            self.running -= 1
            self.ended += 1

    async def tokenize(self, prompt: list[Span], *, add_bos: bool = False) -> Tokens:
        tokens = [256] * add_bos + [b for span in prompt for b in span.text.encode()]
        return Tokens(tokens, [bytes([t]) if t < 256 else b"<s>" for t in tokens])

    async def detokenize(self, tokens: list[int]) -> str:
        return bytes(tokens).decode()

    async def embed(self, inputs: list[Prompt]) -> Embeddings:
        return Embeddings([struct.pack("<4f", 0.8, 0.6, 0.0, 0.0) for _ in inputs], 3 * len(inputs))


def application(supervisor: Supervisor, **settings: Any) -> FastAPI:
    choices = Choices(supervisor.config, ["ctx 4096: asked for"], {"ctx": "flag"})
    return create_app(Settings(port=0, drain_timeout=1.0, **settings), supervisor, choices)


class Cold(Server):
    """Without the warm-up: it starts a template process, which few tests need."""

    async def _announce(self) -> None:
        pass


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
def serving(supervisor: Supervisor, app: FastAPI | None = None, **settings: Any) -> Iterator[Served]:
    app = app or application(supervisor, **settings)
    server, sockets = Cold(app), bind(Settings(port=0))
    url = address(sockets[0])
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
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
