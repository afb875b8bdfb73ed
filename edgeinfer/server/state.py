"""The state that routes share: settings, models, metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from starlette.requests import Request

from edgeinfer.errors import EdgeinferError
from edgeinfer.hardware.thermal import thermal_zones
from edgeinfer.metrics import Metrics
from edgeinfer.plan import Plan
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.history import RecentActivity
from edgeinfer.server.machine_facts import MachineFacts
from edgeinfer.server.machine_metrics import MachineCollector
from edgeinfer.server.machine_use import MachineUse
from edgeinfer.server.mcp_servers import McpServers
from edgeinfer.server.model_files import ModelFiles
from edgeinfer.server.peers import Peers
from edgeinfer.server.pull_process import PullProcess
from edgeinfer.server.responses.store import ResponseStore, keep_tidy, store_folder
from edgeinfer.server.tracing import Tracing
from edgeinfer.serving.downloads import ModelDownloads
from edgeinfer.serving.engines import EngineFactory, ModelNames
from edgeinfer.serving.loader import ModelLoader
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import ModelRegistry
from edgeinfer.serving.services import Services
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store


class ReloadState(msgspec.Struct, frozen=True):
    """The last reload, as /status shows it.

    Attributes:
        number: reloads so far.
        message: its outcome, or why it failed.
        warnings: settings that need a restart, for example.
    """

    number: int
    state: Literal["running", "done", "failed"]
    message: str = ""
    warnings: Sequence[str] = ()
    hint: str | None = None


WARM_UP_DELAY = 1.0
"""Seconds after the model is loaded: those who have waited for it are answered first, with all cores."""


class AppState:
    """One service. Requests leave nothing in it except metrics, the profiles of templates, and stored responses.

    Attributes:
        settings: those in force; a reload changes them.
        sources: setting -> the origin of its value.
        reload: the last reload, None before the first.
        machine: what this machine is.
        machine_use: what it has in use now.
        tracing: makes spans of requests; None unless it is configured.
        history: what the models have done in the last minutes.
        peers: other boards.
        mcp: the MCP servers whose tools the page may call.
        puller: downloads models, and knows whether that is possible here.
        downloads: those that are running.
        starting: loads the default model for the first time; its error is why that failed.
        stand_in: the model that answers in the place of another one, for a conversation.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, str],
        engines: EngineFactory,
        names: Callable[[Settings], ModelNames],
        default: str,
    ) -> None:
        """`default`: the name of the default model."""
        self.settings = settings
        self.sources = dict(sources)
        self.reload: ReloadState | None = None
        self.metrics = Metrics(lambda: self.registry.served())
        self.services = Services(settings, self.metrics)
        self.responses = ResponseStore(store_folder(), lambda: self.settings)
        self.engines = engines
        self.loader = ModelLoader(engines, settings.load_timeout, self.services.rest)
        self.registry = ModelRegistry(
            settings, default, names=names, loader=self.loader, services=self.services
        )
        self.machine = MachineFacts(lambda: Store.of(self.settings).root)
        self.tracing = Tracing(settings.otlp_endpoint) if settings.otlp_endpoint else None
        self.machine_use = MachineUse(lambda: Store.of(self.settings).root)
        self.metrics.registry.register(MachineCollector(lambda: self.machine_use.last, self._certificate))
        self.history = RecentActivity(lambda: (model.stats for model in self.registry.served()), _warmest)
        self.peers = Peers(settings)
        self.mcp = McpServers(settings, self.services.compiler)
        self.puller = PullProcess(lambda: Store.of(self.settings))
        self.downloads = ModelDownloads(self.puller)
        self.model_files = ModelFiles(self.registry)
        self.starting: asyncio.Task[None] | None = None
        self.stand_in: Callable[[ServedModel, str], ServedModel] = lambda model, _: model
        self._started = time.monotonic()
        self._warming: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._recording: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    def start(self, plan: Plan | None = None, *, warm_up: bool = True) -> None:
        """Begin to load the default model, with `plan` if there is one. A second call does nothing."""
        if self.starting:
            return
        self.starting = self.loader.start(self.registry.default, plan)
        self._tidying = asyncio.create_task(keep_tidy(self.responses))
        self._recording = asyncio.create_task(self.history.run())
        if warm_up:
            self._warming = asyncio.create_task(self._warm_up(self.starting))

    async def _warm_up(self, starting: asyncio.Task[None]) -> None:
        await asyncio.wait([starting])
        await asyncio.sleep(WARM_UP_DELAY)
        if info := self.registry.default.info:
            await self.registry.default.warm_up(info)

    async def stop(self) -> None:
        """Drain and end everything, once, even if it is called several times."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        drain = self.settings.drain_timeout
        end = time.monotonic() + drain
        for task in (self._warming, self._tidying, self._recording):
            if task:
                task.cancel()
        await self.downloads.close()
        await self.mcp.close()
        served = list(self.registry.served())
        # Without an engine, requests that wait cannot be answered.
        queues = [model.queue.drain(drain if model.info else 0.0) for model in served]
        await asyncio.gather(*queues)
        await self.loader.close(max(0.0, end - time.monotonic()))
        await self.services.aclose()
        if self.tracing:
            await asyncio.to_thread(self.tracing.close)

    @property
    def stopping(self) -> bool:
        """Requests in progress may finish; no new one is accepted."""
        return self._stopping is not None

    @property
    def state(self) -> str:
        """The default model's state, or "stopped", for the service manager."""
        return "stopped" if self.stopping else self.registry.default.state

    @property
    def healthy(self) -> bool:
        """True if every engine makes progress, or is being restarted."""
        return all(model.health.healthy for model in self.loader.loaded if model.health)

    @property
    def reason(self) -> str | None:
        """Why the default model does not answer, and what to do about it; None if that is unknown."""
        model = self.registry.default
        error: EdgeinferError | None = model.last_error
        if model.health:
            error = model.health.last_error or error
        if error:
            return error.public().message
        return model.health.last_exit if model.health else None

    def _certificate(self) -> Path | None:
        cert = self.settings.tls_cert
        return Path(cert) if cert and self.settings.uds is None else None

    def uptime(self) -> float:
        return time.monotonic() - self._started


def _warmest() -> int | None:
    """The highest temperature of the machine in degrees Celsius."""
    return max((zone.temperature for zone in thermal_zones(Path("/"))), default=None)


def state_of(request: Request) -> AppState:
    state: Any = request.app.state.edgeinfer
    return cast("AppState", state)


def registry_of(request: Request) -> ModelRegistry:
    return state_of(request).registry


def answering_model(request: Request, name: str | None, session: object = None) -> ServedModel:
    """The model that answers a request: the one that it names, or another one that stands in for it.

    `session` names the conversation where the request's header does not.

    Raises:
        ModelNotFound: no model has that name.
    """
    state = state_of(request)
    caller = principal_of(request.scope).caller(session=session)
    return state.stand_in(state.registry.get(name), caller.session)
