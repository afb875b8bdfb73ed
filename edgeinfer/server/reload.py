"""Applies changed settings without interrupting requests; SIGHUP triggers it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple

from msgspec.structs import replace

from edgeinfer import log, settings
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.safe_mode import differences
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.errors import EdgeinferError
from edgeinfer.gguf.file_identity import FileIdentity, file_identity
from edgeinfer.model_settings import MODEL_FIELDS
from edgeinfer.notify import notify
from edgeinfer.plan import Plan
from edgeinfer.plan.several import fits_beside
from edgeinfer.server import audit
from edgeinfer.server.mcp_servers import McpServers
from edgeinfer.server.peers import Peers
from edgeinfer.server.state import AppState, ReloadState
from edgeinfer.serving.engines import Planner, memory_of
from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import default_settings, loaded_alike
from edgeinfer.settings import Loaded, Settings

RELOADED = frozenset(
    {
        *MODEL_FIELDS,
        "store",
        "mcp_servers",
        "memory_limit_mb",
        "peer_key_file",
        "peers",
        "idle_unload",
        "drain_timeout",
        "log_level",
        "responses_store_hours",
        "responses_store_mb",
        "strict_requests",
    }
)
"""Settings that take effect without a restart; those of `[models.NAME]` do too."""

NO_ROOM = "there is not enough memory for the old model and the new one: requests wait until the old one is unloaded"

logger = logging.getLogger(__name__)


class Reloader:
    """Reads the settings again and applies them.

    If there is enough memory, the default model's new engine is loaded next to the old one, which it replaces after its
    self-test. If it fails, the old one continues and nothing has changed. Other models whose settings have changed are
    unloaded once they are idle, and loaded again for the next request.
    """

    def __init__(self, state: AppState, loaded: Loaded, plan: Plan) -> None:
        """`plan`: how the default model was loaded, with all memory for itself."""
        self._state = state
        self._loaded = loaded
        self._plan = plan
        self._file = file_identity(plan.config.model)
        self._turn = asyncio.Lock()
        self._waiting = False

    async def reload(self) -> None:
        """Reload once; the outcome is in `state.reload`. Never raises. Several reloads run one after another.

        A call while another one waits for its turn does nothing, since that one will read the same settings.
        """
        if self._waiting:
            return
        self._waiting = True
        async with self._turn:
            self._waiting = False
            state = self._state
            # Before the first READY=1 the service manager does not expect RELOADING=1.
            serving = state.registry.default.info is not None
            number = state.reload.number + 1 if state.reload else 1
            state.reload = ReloadState(number, "running")
            if serving:
                notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                state.reload = await self._reload(number)
                logger.info("reloaded: %s", state.reload.message)
            except EdgeinferError as e:
                state.reload = ReloadState(number, "failed", e.message, hint=e.hint)
                logger.error("the reload failed, and nothing has changed: %s", e.message)
            except Exception as e:
                state.reload = ReloadState(number, "failed", f"internal error: {e}")
                logger.exception("the reload failed")
            finally:
                if serving and not state.stopping:
                    failed = " (the last reload failed)" if state.reload.state == "failed" else ""
                    notify(f"READY=1\nSTATUS=serving {state.registry.default.name}{failed}")

    async def _reload(self, number: int) -> ReloadState:
        loaded = await asyncio.to_thread(self._read)
        peers = await asyncio.to_thread(Peers, loaded.settings)  # an error in them changes nothing either
        mcp = await asyncio.to_thread(McpServers, loaded.settings, self._state.services.compiler)
        wanted = self._merged(loaded).default_model()
        planner = await asyncio.to_thread(self._state.engines.planner, *wanted)
        best = self._settled(
            await self._state.loader.best_plan(planner, self._state.registry.default), loaded.settings
        )
        warnings = self._warnings(loaded)
        for warning in warnings:
            logger.warning("%s", warning)
        before, file = self._plan.config, file_identity(best.config.model)
        if (best.config, file) == (before, self._file):
            outcome = f"serving {before.name}, as before"
            self._switch(loaded, best, file)
        else:
            plan = await self._change(loaded, best, file, planner, warnings)
            audit.record("reloaded", model=plan.config.name)
            what = _differences(before, plan.config) or "the model's file was replaced"
            outcome = f"serving {plan.config.name}: {what}"
        self._state.peers = peers
        replaced, self._state.mcp = self._state.mcp, mcp
        await replaced.close()
        await self._refresh_others()
        return ReloadState(number, "done", outcome, warnings)

    def _settled(self, best: Plan, wanted: Settings) -> Plan:
        """The plan without what is different only because other memory is free now: nothing is loaded again for that."""
        before, now = self._plan.config, best.config
        if not isinstance(before, LlamaConfig) or not isinstance(now, LlamaConfig):
            return best
        if replace(now, ram_cache_mb=before.ram_cache_mb) != before:
            return best
        asked = {default_settings(s, now.name).ram_cache_mb for s in (self._loaded.settings, wanted)}
        return replace(best, config=before) if asked == {None} else best

    async def _change(
        self, loaded: Loaded, best: Plan, file: FileIdentity, planner: Planner, warnings: list[str]
    ) -> Plan:
        """Serve another default model, or the same one in another way; -> the plan that is in force."""
        state, name = self._state, best.config.name
        old = state.registry.default
        if name == old.name and old.engine is None and not old.loading:
            self._switch(loaded, best, file)  # unloaded while idle: the next request loads it in the new way
            return best
        plan = await state.loader.plan_in_place(planner, best, old)
        if not (beside := _fits_beside(plan, old)):
            logger.warning("%s", NO_ROOM)
            warnings.append(NO_ROOM)
        change = Change(loaded, best, file, plan, beside)
        await (self._reconfigure if name == old.name else self._exchange)(old, change)
        return plan

    async def _reconfigure(self, model: ServedModel, change: Change) -> None:
        """Load the default model with another configuration, or from another file."""
        replaced = await self._state.loader.replace(
            model,
            change.plan,
            beside=change.beside,
            drain=self._state.settings.drain_timeout,
            switched=lambda: self._switch(*change[:3]),
        )
        if not replaced:  # unloaded while idle: the next request loads it with the new plan
            self._switch(*change[:3])

    async def _exchange(self, old: ServedModel, change: Change) -> None:
        """Load another default model. The old one finishes its requests, for at most `drain_timeout` seconds."""
        state, drain = self._state, self._state.settings.drain_timeout
        name = change.plan.config.name
        wanted = default_settings(self._merged(change.loaded), name)
        new = state.registry.prepare(name, wanted)
        if not loaded_alike(new.settings, wanted):
            await state.loader.unload(new, drain)
            new.settings = wanted
        if change.beside or new.engine:
            await self._load(new, change.plan)
            self._switch(*change[:3])
            await state.loader.retire(old, drain)
            return
        state.registry.use(new)
        await state.loader.retire(old, drain)
        try:
            await self._load(new, change.plan)
        except BaseException:
            old.retired = False
            state.registry.use(old)
            await self._load(old, None)
            raise
        self._switch(*change[:3])

    async def _load(self, model: ServedModel, plan: Plan | None) -> None:
        if model.client is None:
            await asyncio.shield(self._state.loader.start(model, plan))

    async def _refresh_others(self) -> None:
        """Unload other models whose settings have changed; the next request loads them again."""
        drain = self._state.settings.drain_timeout
        outdated = self._state.registry.outdated()
        await asyncio.gather(*(self._state.loader.unload(model, drain) for model in outdated))

    def _read(self) -> Loaded:
        """Read the settings again, except command-line options, which stay in force."""
        current = self._loaded.settings
        flags = {
            name: getattr(current, name) for name, source in self._loaded.sources.items() if source == "flag"
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
            *others, last = names
            words = f"{', '.join(others)} and {last} take" if others else f"{last} takes"
            return [f"{words} effect after a restart"]
        return []

    def _merged(self, loaded: Loaded) -> Settings:
        """The settings in force from now on."""
        new = {name: getattr(loaded.settings, name) for name in self._changed(loaded) if name in RELOADED}
        return replace(self._state.settings, **new, models=loaded.settings.models)

    def _switch(self, loaded: Loaded, plan: Plan, file: FileIdentity) -> None:
        """Put the new settings in force."""
        state, level = self._state, self._state.settings.log_level
        state.settings = self._merged(loaded)
        state.sources = {
            name: (loaded if name in RELOADED else self._loaded).sources[name] for name in settings.FIELDS
        }
        state.registry.configure(state.settings, plan.config.name)
        if state.settings.log_level != level:
            log.setup(state.settings.log_level, form=state.settings.log_format)
        # Settings that need a restart keep their old values here, so that the next reload mentions them again.
        reloaded = {name: getattr(loaded.settings, name) for name in RELOADED}
        current = replace(self._loaded.settings, **reloaded, models=loaded.settings.models)
        self._loaded = Loaded(current, state.sources)
        self._plan, self._file = plan, file


def _differences(before: LlamaConfig | VllmConfig, after: LlamaConfig | VllmConfig) -> str:
    """What has changed, in words; "" if that is none of the settings."""
    if isinstance(before, LlamaConfig) and isinstance(after, LlamaConfig):
        return differences(before, after)
    return "" if before == after else "it is loaded in another way"


class Change(NamedTuple):
    """A reload in progress.

    Attributes:
        best: the plan with all memory for the model, by which the next reload sees whether anything has changed.
        plan: the plan next to busy models.
        beside: there is enough memory for the old model and the new one.
    """

    loaded: Loaded
    best: Plan
    file: FileIdentity
    plan: Plan
    beside: bool


def _fits_beside(plan: Plan, old: ServedModel) -> bool:
    return old.engine is None or fits_beside(plan, memory_of(old.engine))
