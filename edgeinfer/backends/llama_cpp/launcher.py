"""Starts workers, and changes the configuration where the model does not load with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import HANG_TIMEOUT, WorkerHandle
from edgeinfer.backends.llama_cpp.inherited_memory import InheritedMemory
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.backends.llama_cpp.safe_mode import LoadAttempt, SafeModeStore, differences, smaller
from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.waiting import finish
from edgeinfer.backends.supervision.worker import LaunchFailed
from edgeinfer.backends.supervision.worker_exit import WorkerExit
from edgeinfer.errors import EdgeinferError, ModelLoadFailed, NoGPU, WorkerDied

log = logging.getLogger("edgeinfer.worker")

Replan = Callable[[str], LlamaConfig | None]
"""Plans again for the machine as it is now, for the reason given. None changes nothing. It may block."""


Diagnosis = Callable[[WorkerExit], EdgeinferError | None]
"""Returns why no worker can work, if that is what an exit shows. It may block."""


class WorkerLauncher:
    """Starts one worker after the other.

    Attributes:
        config: how the next worker loads the model.
        changes: differences between that and what was wanted, with their reasons, in words.
        quarantine: shared by all workers.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        load_timeout: float = 600.0,
        hang_timeout: float = HANG_TIMEOUT,
        markers: Sequence[str] = (),
        safe_mode: SafeModeStore | None = None,
        replan: Replan | None = None,
        prefix_cache: PrefixCacheConfig | None = None,
        confine: bool = True,
        diagnose: Diagnosis | None = None,
    ) -> None:
        self.quarantine = CrashQuarantine()
        self._prefix_cache = prefix_cache
        self._confine = confine
        self._markers = markers
        self._load_timeout = load_timeout
        self._hang_timeout = hang_timeout
        self._safe_mode = safe_mode or SafeModeStore()
        self._replan = replan
        self._loading: WorkerHandle | None = None
        self._diagnose = diagnose
        self._memory = InheritedMemory()
        self.set_config(config)

    @property
    def load_progress(self) -> float | None:
        """The share of the model that the worker which is being started has read; None if that is unknown."""
        return self._loading.load_progress if self._loading else None

    def set_config(self, config: LlamaConfig) -> None:
        """From now on load the model like this, as far as that is known to work."""
        self.config = config
        self.changes: list[str] = []
        if override := self._safe_mode.get(config):
            self._change_config(override.applied(config), f"{override.reason}, some time ago")

    def proven(self, config: LlamaConfig) -> LlamaConfig:
        """`config` with the changes without which it is known to crash."""
        override = self._safe_mode.get(config)
        return override.applied(config) if override else config

    async def adapt(self, exit: WorkerExit) -> None:
        """Change the configuration if the exit of a worker that was ready calls for it.

        Raises:
            LaunchFailed: the exit shows that no worker can work.
        """
        if error := await self._diagnosis(exit):
            raise LaunchFailed(error, exit, final=True)
        config = smaller(self.config) if exit.out_of_memory else None
        if exit.lost_gpu and config is None:
            config = await self._planned(str(exit))
        if config:
            self._change_config(config, str(exit))

    async def launch(self, first: bool) -> WorkerHandle:
        """Start a worker and wait until it is ready, if need be with a configuration that demands less.

        `first`: the machine was examined just now.

        Raises:
            LaunchFailed: no configuration worked.
        """
        attempt, changes = LoadAttempt(self.config, examined=first), list(self.changes)
        while True:
            try:
                worker = await self._load(self.config, self._memory)
                break
            except LaunchFailed as failure:
                config = await self._next_config(attempt, failure)
                if config is None:
                    if attempt.crash:  # what did not help need not stay
                        self.config, self.changes = attempt.start, changes
                    raise
                self._change_config(config, failure.reason)
        if attempt.crash:
            self._safe_mode.remember(attempt.start, self.config, attempt.crash)
        return worker

    async def load(self, config: LlamaConfig) -> WorkerHandle:
        """Start a worker and wait until it is ready with `config`, and no other. Raises LaunchFailed.

        It inherits nothing, as the worker before may still run. Those after it inherit from it.
        """
        memory = InheritedMemory()
        try:
            worker = await self._load(config, memory)
        except BaseException:
            memory.close()
            raise
        self._memory.close()
        self._memory = memory
        return worker

    def close(self) -> None:
        """Give up what the workers have left, as there will be no other."""
        self._memory.close()

    async def _load(self, config: LlamaConfig, memory: InheritedMemory) -> WorkerHandle:
        worker = WorkerHandle(
            config,
            self._markers,
            self._hang_timeout,
            self.quarantine,
            self._prefix_cache,
            confine=self._confine,
            memory=memory,
        )
        ready = False
        self._loading = worker
        try:
            await worker.start()
            info = await worker.loaded(self._load_timeout)
            ready = True
        except OSError as e:
            raise LaunchFailed(ModelLoadFailed(f"the worker could not be started: {e}")) from e
        except WorkerDied as e:
            raise await self._death(f"{config.name}: {e.message}", worker.exit) from e
        except EdgeinferError as e:
            raise LaunchFailed(e) from e
        finally:
            self._loading = None
            if not ready:
                await finish(worker.stop())
        log.info("%s is ready after %.1f s: %s", info.name, worker.load_seconds, info.description)
        if worker.build:
            log.info("%s is computed by %s", info.name, worker.build)
        return worker

    async def _death(self, message: str, exit: WorkerExit | None) -> LaunchFailed:
        """The failure of a worker that died while it loaded."""
        if exit and (error := await self._diagnosis(exit)):
            return LaunchFailed(error, exit, final=True)
        crashed = exit is not None and exit.crashed
        hint = "edgeinfer doctor tells whether llama.cpp suits this machine" if crashed else None
        return LaunchFailed(ModelLoadFailed(message, hint=hint), exit)

    async def _diagnosis(self, exit: WorkerExit) -> EdgeinferError | None:
        return await asyncio.to_thread(self._diagnose, exit) if self._diagnose else None

    async def _next_config(self, attempt: LoadAttempt, failure: LaunchFailed) -> LlamaConfig | None:
        """The configuration to try after a failure; None gives up."""
        if failure.final:
            return None
        no_gpu = isinstance(failure.error, NoGPU)
        if no_gpu and (planned := await self._replan_once(attempt, failure.reason)):
            return planned
        if config := attempt.next_config(self.config, failure.error, failure.exit):
            return config
        return None if no_gpu else await self._replan_once(attempt, failure.reason)

    async def _replan_once(self, attempt: LoadAttempt, reason: str) -> LlamaConfig | None:
        if attempt.examined:
            return None
        planned = await self._planned(reason)
        attempt.on_examined(planned)
        return planned

    async def _planned(self, reason: str) -> LlamaConfig | None:
        """A plan for the machine as it is now; None if it is the present configuration."""
        if self._replan is None:
            return None
        try:
            config = await asyncio.to_thread(self._replan, reason)
        except Exception:
            log.exception("no new plan could be made")
            return None
        return None if config == self.config else config

    def _change_config(self, config: LlamaConfig, reason: str) -> None:
        if config == self.config:
            return
        change = f"{differences(self.config, config)}: {reason}"
        log.warning("the model's configuration is changed: %s", change)
        self.changes.append(change)
        self.config = config
