"""Engines for the registry: planned for this machine, opened with the daemon's settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edgeinfer.allocator import return_freed_memory
from edgeinfer.backends.llama_cpp import spawn
from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.backends.llama_cpp.safe_mode import SafeModeStore
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.chat.tools.detect import MARKERS
from edgeinfer.errors import EdgeinferError, SettingsError
from edgeinfer.hardware import detect
from edgeinfer.inference.client import EngineClient
from edgeinfer.inference.types import ModelInfo
from edgeinfer.plan import Plan
from edgeinfer.plan.calibration import load as load_calibration
from edgeinfer.plan.draft_model import find_draft_model
from edgeinfer.plan.own_memory import HeldMemory, held_by, with_memory
from edgeinfer.plan.plan import plan_model
from edgeinfer.plan.wrong_build import wrong_build
from edgeinfer.serving.engines import Planner, RunningEngine, memory_of
from edgeinfer.settings import Settings
from edgeinfer.store.index import StoreIndex
from edgeinfer.store.location import DAEMON_STATE
from edgeinfer.store.lookup import BUNDLED_MODEL, bundled_file, find_model, is_file_reference
from edgeinfer.store.model_name import split_name
from edgeinfer.store.store import Store
from edgeinfer.user_folders import daemon_cache_folder

if TYPE_CHECKING:
    from edgeinfer.backends.vllm.client import VllmClient

FALLBACKS = "fallback.json"
"""Name of the file with configurations that survive the self-test, in the store or the service's directory."""

logger = logging.getLogger(__name__)


class LocalEngines:
    """An EngineFactory whose engines are supervised processes on this machine: llama.cpp, or vLLM."""

    def __init__(self, settings: Settings) -> None:
        self._safe_mode = SafeModeStore(own_folder(settings) / FALLBACKS)
        self._open: tuple[RunningEngine, ...] = ()

    def planner(self, name: str | None, settings: Settings) -> Planner:
        store = Store.of(settings)
        local = find_model(settings.model, store, in_safetensors=settings.engine == "vllm")
        model = replace(local, name=name or local.name)
        if name is None:
            settings = settings.for_default(local.name)
        pid = spawn.pid_ahead()
        # What it holds is part of what the model will take. It may be reading that, so this comes before `detect`.
        ahead = HeldMemory(held_by(pid) if pid else 0)
        profile = with_memory(detect(), ahead)
        calibration = load_calibration(store.root, profile)
        draft = find_draft_model(local, settings)  # the catalogue knows it by its own name

        def planned(staying: Sequence[RunningEngine], leaving: Sequence[RunningEngine]) -> Plan:
            freed = sum((memory_of(engine).held for engine in leaving), HeldMemory())
            try:
                return plan_model(
                    model,
                    with_memory(profile, freed),
                    settings,
                    calibration,
                    [memory_of(other) for other in staying],
                    draft,
                )
            finally:
                return_freed_memory()  # what checking the vocabulary took

        return planned

    def open(self, plan: Plan, settings: Settings) -> EngineClient:
        if settings.ctx is not None and plan.config.ctx < settings.ctx:
            logger.warning(
                "%s: ctx is %d, not %d: the model was trained for no more",
                plan.config.name,
                plan.config.ctx,
                settings.ctx,
            )
        if plan.draft_problem:
            logger.warning("%s: draft_model is off: %s", plan.config.name, plan.draft_problem)
        client = self._client(plan.config, settings)
        self._open = (*self._others(client), RunningEngine(client, plan))
        return client

    def _client(self, config: LlamaConfig | VllmConfig, settings: Settings) -> EngineClient:
        if isinstance(config, VllmConfig):
            # It brings an HTTP client, which nothing else needs.
            from edgeinfer.backends.vllm.client import VllmClient

            return VllmClient(
                config,
                markers=MARKERS,
                load_timeout=settings.load_timeout,
                hang_timeout=settings.hang_timeout,
                confine=settings.confine,
            )
        return LlamaClient(
            config,
            load_timeout=settings.load_timeout,
            hang_timeout=settings.hang_timeout,
            markers=MARKERS,
            safe_mode=self._safe_mode,
            replan=lambda _: self._replanned(config.name, settings),
            prefix_cache=_prefix_cache(settings.prefix_cache_mb),
            confine=settings.confine,
            diagnose=lambda exit: wrong_build(exit.status),
        )

    async def replace(
        self,
        client: EngineClient,
        plan: Plan,
        *,
        beside: bool,
        drain: float,
        switched: Callable[[], None],
    ) -> ModelInfo:
        options: Any = {"beside": beside, "drain": drain, "switched": switched}
        config = plan.config
        if isinstance(config, LlamaConfig) and isinstance(client, LlamaClient):
            info = await client.replace(config, **options)
        elif isinstance(config, VllmConfig) and (vllm := _as_vllm(client)):
            info = await vllm.replace(config, **options)
        else:
            raise SettingsError(
                f"{config.name} would be computed by {plan.backend} from now on, which takes a restart",
                param="engine",
                hint="restart the service, or serve the other one under another name",
            )
        self._open = (*self._others(client), RunningEngine(client, plan))
        return info

    def _others(self, client: EngineClient) -> list[RunningEngine]:
        """Engines besides `client` that have memory, or will have."""
        gone = ("stopped", "failed")
        return [e for e in self._open if e.client is not client and e.client.health.state not in gone]

    def _replanned(self, name: str, settings: Settings) -> LlamaConfig | None:
        """A configuration for the machine as it is now, beside the other models; None if there is none."""
        mine = next((engine.client for engine in self._open if engine.plan.config.name == name), None)
        others = self._open if mine is None else self._others(mine)
        try:
            return self.planner(name, settings)(others, []).llama
        except EdgeinferError as e:
            logger.warning("no new plan could be made: %s", e.message)
            return None


def _as_vllm(client: EngineClient) -> VllmClient | None:
    from edgeinfer.backends.vllm.client import VllmClient

    return client if isinstance(client, VllmClient) else None


class InstalledModels:
    """Implements ModelNames with the models in the store."""

    def __init__(self, settings: Settings) -> None:
        self._index = StoreIndex(Store.of(settings))

    def resolve(self, name: str) -> str | None:
        model, quant = split_name(name)
        stored = self._index.find(model, quant)
        return f"{stored.name}:{stored.quant}" if stored else None

    def installed(self) -> Sequence[str]:
        return [f"{stored.name}:{stored.quant}" for stored in self._index.installed()]

    def file(self, name: str) -> str | None:
        if is_file_reference(name):
            return str(Path(name).resolve())
        model, quant = split_name(name)
        if stored := self._index.find(model, quant):
            return str(stored.path)
        return bundled_file() if model.lower() == BUNDLED_MODEL and not quant else None


def own_folder(settings: Settings) -> Path:
    """The directory where the daemon may write its own files."""
    folders = os.environ.get("STATE_DIRECTORY", "").split(":")
    return DAEMON_STATE if str(DAEMON_STATE) in folders else Store.of(settings).root


def _prefix_cache(megabytes: int, environ: Mapping[str, str] = os.environ) -> PrefixCacheConfig | None:
    """A prefix cache in systemd's cache directory, or else the user's; None if its size is 0."""
    if not megabytes:
        return None
    return PrefixCacheConfig(str(daemon_cache_folder(environ) / "prefixes"), megabytes)
