"""Starts workers, and loads the model otherwise where it does not load as it should."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import HANG_TIMEOUT, Worker
from edgeinfer.backends.llama_cpp.messages import Shelf
from edgeinfer.backends.llama_cpp.quarantine import Suspects
from edgeinfer.backends.llama_cpp.safe_mode import Attempt, Fallbacks, changes, smaller
from edgeinfer.backends.llama_cpp.worker_exit import Death
from edgeinfer.errors import EdgeinferError, ModelLoadFailed, NoGPU, WorkerDied

log = logging.getLogger("edgeinfer.worker")

Replan = Callable[[str], LlamaConfig | None]
"""Looks at the machine again, for the reason given; -> how to load the model now, None as before. It may block."""


class NotLoaded(Exception):
    """A worker did not become ready. `death` is None where it had to be stopped."""

    def __init__(self, error: EdgeinferError, death: Death | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.death = death
        self.reason = str(death or error.message)


class Launcher:
    """Makes one worker after the other.

    Attributes:
        config: how the next one loads the model.
        changed: what that has become of what was wanted, and why, in words.
        suspects: what the workers are told of.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        load_timeout: float = 600.0,
        hang_timeout: float = HANG_TIMEOUT,
        markers: Sequence[str] = (),
        fallbacks: Fallbacks | None = None,
        replan: Replan | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._shelf = shelf
        self.suspects = Suspects()
        self._markers = markers
        self._load_timeout = load_timeout
        self._hang_timeout = hang_timeout
        self._fallbacks = fallbacks or Fallbacks()
        self._replan = replan
        self.want(config)

    def want(self, config: LlamaConfig) -> None:
        """From now on load it like this, as far as that is known to work."""
        self.config = config
        self.changed: list[str] = []
        if known := self._fallbacks.known(config):
            self._settle_for(known.applied(config), f"{known.reason}, some time ago")

    def known(self, config: LlamaConfig) -> LlamaConfig:
        """As `config` is known to work."""
        found = self._fallbacks.known(config)
        return found.applied(config) if found else config

    async def after(self, death: Death) -> None:
        """A worker that was ready has died: does that say how to load the next one?"""
        other = smaller(self.config) if death.out_of_memory else None
        if death.lost_gpu and other is None:
            other = await self._planned(str(death))
        if other:
            self._settle_for(other, str(death))

    async def launch(self, first: bool) -> Worker:
        """A worker that is ready, if need be with settings that ask for less. Raises NotLoaded.

        `first`: the machine was looked at just now.
        """
        attempt, told = Attempt(self.config, looked=first), list(self.changed)
        while not isinstance(found := await self._try(self.config), Worker):
            other = await self._other(attempt, found)
            if other is None:
                if attempt.crash:  # what did not help need not stay
                    self.config, self.changed = attempt.start, told
                raise found
            self._settle_for(other, found.reason)
        if attempt.crash:
            self._fallbacks.remember(attempt.start, self.config, attempt.crash)
        return found

    async def _other(self, attempt: Attempt, failure: NotLoaded) -> LlamaConfig | None:
        """What to try after a failure; None: nothing."""
        gone = isinstance(failure.error, NoGPU)
        if gone and (planned := await self._look_again(attempt, failure.reason)):
            return planned
        if less := attempt.otherwise(self.config, failure.error, failure.death):
            return less
        return None if gone else await self._look_again(attempt, failure.reason)

    async def _look_again(self, attempt: Attempt, reason: str) -> LlamaConfig | None:
        """Once in an attempt."""
        if attempt.looked:
            return None
        planned = await self._planned(reason)
        attempt.look(planned)
        return planned

    async def load(self, config: LlamaConfig) -> Worker:
        """A worker that is ready with `config`, and no other. Raises NotLoaded."""
        worker = Worker(config, self._markers, self._hang_timeout, self.suspects, self._shelf)
        ready = False
        try:
            await worker.start()
            info = await worker.loaded(self._load_timeout)
            ready = True
        except OSError as e:
            raise NotLoaded(ModelLoadFailed(f"the worker could not be started: {e}")) from e
        except WorkerDied as e:
            raise NotLoaded(ModelLoadFailed(f"{config.model}: {e.message}"), worker.death) from e
        except EdgeinferError as e:
            raise NotLoaded(e) from e
        finally:
            if not ready:
                await asyncio.shield(worker.stop())
        log.info("%s is ready after %.1f s: %s", info.name, worker.load_seconds, info.description)
        return worker

    async def _try(self, config: LlamaConfig) -> Worker | NotLoaded:
        try:
            return await self.load(config)
        except NotLoaded as e:
            return e

    def _settle_for(self, config: LlamaConfig, reason: str) -> None:
        if config == self.config:
            return
        found = f"{changes(self.config, config)}: {reason}"
        log.warning("the model is loaded otherwise: %s", found)
        self.changed.append(found)
        self.config = config

    async def _planned(self, reason: str) -> LlamaConfig | None:
        """How to load the model on the machine as it is now; None: as before."""
        try:
            found = await asyncio.to_thread(self._replan, reason) if self._replan else None
        except Exception:
            log.exception("no plan could be made anew")
            found = None
        return None if found == self.config else found
