"""Another model, or other settings, while requests go on: the daemon reads its settings again on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec.structs import replace

from edgeinfer import log, settings
from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.safe_mode import differences
from edgeinfer.errors import EdgeinferError
from edgeinfer.gguf.file_identity import FileIdentity, file_identity
from edgeinfer.hardware import detect
from edgeinfer.notify import notify
from edgeinfer.plan import Plan, make_plan
from edgeinfer.plan.own_memory import ModelMemory, model_memory, with_memory
from edgeinfer.plan.several import fits_beside
from edgeinfer.server import audit
from edgeinfer.server.state import Choices, Daemon, Reload
from edgeinfer.settings import Loaded, Settings

RELOADED = frozenset(
    {
        "model",
        "store",
        "ctx",
        "parallel",
        "threads",
        "layout",
        "cells",
        "flash_attention",
        "kv_type",
        "batch",
        "ubatch",
        "gpu_layers",
        "force",
        "memory_limit_mb",
        "step_ms",
        "drain_timeout",
        "log_level",
    }
)
"""Settings that take effect without a restart."""

logger = logging.getLogger(__name__)


class Reloader:
    """Puts a worker that obeys the settings as they are now in the place of the one that runs.

    The new one is loaded beside it, if there is memory for both, and has to pass its self-test; otherwise the old
    one goes on, and nothing has changed.
    """

    def __init__(self, daemon: Daemon, client: LlamaClient, loaded: Loaded, plan: Plan) -> None:
        self._daemon = daemon
        self._client = client
        self._loaded = loaded
        self._plan = plan
        self._file = file_identity(plan.config.model)
        self._turn = asyncio.Lock()

    async def reload(self) -> None:
        """What comes of it stands in `daemon.reload`. Never raises; one after the other."""
        async with self._turn:
            daemon = self._daemon
            serving = daemon.client.info is not None  # else nothing was announced that could be reloaded
            number = daemon.reload.number + 1 if daemon.reload else 1
            daemon.reload = Reload(number, "running")
            if serving:
                notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                daemon.reload = await self._reload(number)
                logger.info("reloaded: %s", daemon.reload.message)
            except EdgeinferError as e:
                daemon.reload = Reload(number, "failed", e.message, hint=e.hint)
                logger.error("the reload failed, and nothing has changed: %s", e.message)
            except Exception as e:
                daemon.reload = Reload(number, "failed", f"internal error: {e}")
                logger.exception("the reload failed")
            finally:
                if serving and daemon.client.health.state != "stopped":
                    failed = " (the last reload failed)" if daemon.reload.state == "failed" else ""
                    notify(f"READY=1\nSTATUS=serving {daemon.model_name}{failed}")

    async def _reload(self, number: int) -> Reload:
        loaded = await asyncio.to_thread(self._read)
        running = model_memory(self._plan.memory, self._daemon.client.health.pid)
        plan = await asyncio.to_thread(_planned, self._reloaded(loaded), running)
        warnings = self._warnings(loaded)
        for warning in warnings:
            logger.warning("%s", warning)
        before, file = self._plan.config, file_identity(plan.config.model)
        if (plan.config, file) == (before, self._file):
            self._switch(loaded, plan, file)
            return Reload(number, "done", f"serving {before.name}, as before", warnings)
        if not (beside := fits_beside(plan, running)):
            found = "there is no memory for the old model and the new one: requests wait until the old one is gone"
            logger.warning("%s", found)
            warnings.append(found)
        await self._client.replace(
            plan.config,
            beside=beside,
            drain=self._daemon.settings.drain_timeout,
            switched=lambda: self._switch(loaded, plan, file),
        )
        what = differences(before, plan.config) or "the model's file was replaced"
        audit.record("reloaded", model=plan.config.name)
        return Reload(number, "done", f"serving {plan.config.name}: {what}", warnings)

    def _read(self) -> Loaded:
        """The settings as they are now; what was given on the command line holds on."""
        given = self._loaded.settings
        flags = {
            name: getattr(given, name) for name, source in self._loaded.sources.items() if source == "flag"
        }
        return settings.load(flags)

    def _changed(self, loaded: Loaded) -> list[str]:
        return [
            name
            for name in settings.FIELDS
            if getattr(loaded.settings, name) != getattr(self._loaded.settings, name)
        ]

    def _warnings(self, loaded: Loaded) -> list[str]:
        if names := [name for name in self._changed(loaded) if name not in RELOADED]:
            return [f"{', '.join(names)}: in force after a restart only"]
        return []

    def _reloaded(self, loaded: Loaded) -> Settings:
        """The settings in force from now on."""
        new = {name: getattr(loaded.settings, name) for name in self._changed(loaded) if name in RELOADED}
        return replace(self._daemon.settings, **new)

    def _switch(self, loaded: Loaded, plan: Plan, file: FileIdentity) -> None:
        daemon, level = self._daemon, self._daemon.settings.log_level
        daemon.settings = self._reloaded(loaded)
        sources = {
            name: (loaded if name in RELOADED else self._loaded).sources[name] for name in settings.FIELDS
        }
        daemon.choices = Choices(plan.config, plan.reasons, sources, plan.tool_format)
        if daemon.settings.log_level != level:
            log.setup(daemon.settings.log_level)
        # What is not in force stays as it was, so that the next reload says so again.
        kept = {name: getattr(loaded.settings, name) for name in RELOADED}
        self._loaded = Loaded(replace(self._loaded.settings, **kept), sources)
        self._plan, self._file = plan, file


def _planned(wanted: Settings, running: ModelMemory) -> Plan:
    """Plan as if the worker that runs were gone."""
    return make_plan(wanted, with_memory(detect(), running.held))
