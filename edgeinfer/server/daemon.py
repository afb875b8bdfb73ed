"""What the routes share: the model's handle, the settings, the metrics and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, cast

import msgspec
from starlette.requests import Request

from edgeinfer.chat.prompt import ChatPrompter
from edgeinfer.chat.renderer import Renderer
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.guidance import NO_GUIDANCE, Guidance
from edgeinfer.engine.sampling import SamplingParams
from edgeinfer.errors import EdgeinferError, InvalidRequest, ModelNotFound, ShuttingDown, WorkerDied
from edgeinfer.grammar.compiler import Compiler
from edgeinfer.metrics import Metrics
from edgeinfer.server.merge import Deltas, merged
from edgeinfer.server.schemas.inputs import Input
from edgeinfer.settings import Settings
from edgeinfer.worker.messages import ModelInfo, Prompt, Span
from edgeinfer.worker.supervisor import Supervisor

DEFAULT_MODEL = "default"


class Choices(msgspec.Struct, frozen=True):
    """What was decided before the start, and why: shown by /status.

    Attributes:
        config: how the model is loaded.
        reasons: the plan's, in words.
        sources: setting -> where its value came from.
        tool_format: how the model writes tool calls, where its template does not show it.
    """

    config: EngineConfig
    reasons: Sequence[str] = ()
    sources: dict[str, str] = {}
    tool_format: str | None = None


class Daemon:
    """One daemon. Requests leave no trace in it but metrics, and what was learnt about templates."""

    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        choices: Choices,
        renderer: Renderer,
        compiler: Compiler,
    ) -> None:
        self.settings = settings
        self.supervisor = supervisor
        self.choices = choices
        self.renderer = renderer
        self.compiler = compiler
        self.created = int(time.time())
        self._started = time.monotonic()
        self.metrics = Metrics(supervisor)
        self._stopping: asyncio.Task[None] | None = None
        self._prompter: tuple[ModelInfo, ChatPrompter] | None = None

    async def start(self) -> None:
        await self.supervisor.start()

    async def stop(self) -> None:
        """Drain and end everything. Whoever calls this, and however often, it happens once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        await self.supervisor.stop(self.settings.drain_timeout)
        await self.renderer.close()
        await self.compiler.close()

    @property
    def model_name(self) -> str:
        return self.choices.config.name

    def uptime(self) -> float:
        return time.monotonic() - self._started

    async def model(self, name: str | None) -> ModelInfo:
        """The loaded model, under the name a request gave it.

        Raises:
            ModelNotFound: it has another name.
            NotReady: it did not become ready in time.
        """
        if name is not None and name not in (self.model_name, DEFAULT_MODEL):
            served = f"{self.model_name!r} (or {DEFAULT_MODEL!r}, or leave model out)"
            raise ModelNotFound(f"no such model: {name[:100]!r}; this daemon serves {served}", param="model")
        return await self.supervisor.ready()

    async def generator(self, name: str | None) -> ModelInfo:
        """As `model`. Raises InvalidRequest if it cannot write."""
        info = await self.model(name)
        if not info.generates:
            hint = "POST /v1/embeddings is what it is for"
            raise InvalidRequest(f"{info.name} makes embeddings, not text", param="model", hint=hint)
        return info

    def prompter(self, info: ModelInfo) -> ChatPrompter:
        """Makes prompts for `info`. It learns about templates, so it is kept while the model stays."""
        if self._prompter is None or self._prompter[0] is not info:
            self._prompter = info, ChatPrompter(info, self.renderer, self.choices.tool_format)
        return self._prompter[1]

    async def warm_up(self, info: ModelInfo) -> None:
        """Start the template process and learn the template now, not at somebody's first request."""
        with contextlib.suppress(EdgeinferError):  # that request will be told
            await self.prompter(info).capabilities()

    async def generate(
        self, prompts: Sequence[Prompt], params: SamplingParams, n: int, guidance: Guidance = NO_GUIDANCE
    ) -> Deltas:
        """Deltas of n answers to each prompt; closing this cancels them all."""
        streams = [self.supervisor.generate(prompt, params, n=n, guidance=guidance) for prompt in prompts]
        watch = self.metrics.watch()
        try:
            async with aclosing(merged(streams, n)) as deltas:
                async for delta in deltas:
                    watch.delta(delta.index)
                    yield delta
        except WorkerDied:
            if self.supervisor.state == "stopped":  # it did not die by itself
                raise ShuttingDown("the service shuts down, and this answer was not done in time") from None
            raise


def the_daemon(request: Request) -> Daemon:
    daemon: Any = request.app.state.daemon
    return cast("Daemon", daemon)


def as_prompt(given: Input, *, trusted: bool) -> Prompt:
    """`trusted`: control tokens written out in a text are recognised."""
    return [Span(given, trusted)] if isinstance(given, str) else given
