"""Starts vLLM processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.waiting import finish
from edgeinfer.backends.supervision.worker import LaunchFailed
from edgeinfer.backends.supervision.worker_exit import WorkerExit
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.backends.vllm.model_info import model_info
from edgeinfer.backends.vllm.process import VllmProcess
from edgeinfer.errors import EdgeinferError, ModelLoadFailed, WorkerDied
from edgeinfer.safetensors.folder import read_folder, read_tokenizer

log = logging.getLogger("edgeinfer.vllm")

MEMORY_STEP = 0.1
MIN_MEMORY = 0.3
"""Share of a card's memory below which a start is not tried again with less."""


class VllmLauncher:
    """Implements Launcher.

    Attributes:
        config: how the next process loads the model.
        changes: differences between that and what was wanted, with their reasons, in words.
        quarantine: shared by all processes.
    """

    def __init__(
        self,
        config: VllmConfig,
        *,
        markers: Collection[str],
        load_timeout: float,
        hang_timeout: float,
        confine: bool = True,
    ) -> None:
        self.config = config
        self.changes: list[str] = []
        self.quarantine = CrashQuarantine()
        self._markers = markers
        self._load_timeout = load_timeout
        self._hang_timeout = hang_timeout
        self._confine = confine
        self._loading: VllmProcess | None = None

    @property
    def load_progress(self) -> float | None:
        return self._loading.log.progress if self._loading else None

    def set_config(self, config: VllmConfig) -> None:
        self.config, self.changes = config, []

    def proven(self, config: VllmConfig) -> VllmConfig:
        return config

    async def adapt(self, exit: WorkerExit) -> None:
        """Take less of the cards' memory after a process that ran out of it."""
        if exit.out_of_memory:
            self._take_less(str(exit))

    async def launch(self, first: bool) -> VllmProcess:  # noqa: ARG002  # nothing depends on it here
        """Start a process and wait until it is ready, with less of the cards' memory if that is short.

        Raises:
            LaunchFailed: it does not start.
        """
        while True:
            try:
                return await self.load(self.config)
            except LaunchFailed as failure:  # noqa: PERF203  # a start takes a minute
                short = failure.exit is not None and failure.exit.out_of_memory
                if not (short and self._take_less(failure.reason)):
                    raise

    async def load(self, config: VllmConfig) -> VllmProcess:
        """Start a process and wait until it is ready with `config`. Raises LaunchFailed."""
        try:
            process = await asyncio.to_thread(self._prepared, config)
        except EdgeinferError as e:
            raise LaunchFailed(e) from e
        self._loading = process
        ready = False
        try:
            await process.start()
            info = await process.loaded(self._load_timeout)
            ready = True
        except OSError as e:
            raise LaunchFailed(ModelLoadFailed(f"vLLM could not be started: {e}")) from e
        except WorkerDied as e:
            message = f"{config.name}: vLLM did not start: {process.exit}"
            hint = "its whole log: edgeinfer serve --log-level debug"
            if self._confine and process.exit and not process.exit.out_of_memory:
                hint += "; if it may not read something that it needs: --no-confine"
            raise LaunchFailed(ModelLoadFailed(message, param="model", hint=hint), process.exit) from e
        except EdgeinferError as e:
            raise LaunchFailed(e) from e
        finally:
            self._loading = None
            if not ready:
                await finish(process.stop())
        log.info(
            "%s is ready after %.1f s: %s, computed by %s",
            info.name,
            process.load_seconds,
            info.description,
            process.build,
        )
        return process

    def _prepared(self, config: VllmConfig) -> VllmProcess:
        """A process that is not started; reads the model's folder, which blocks."""
        folder = read_folder(Path(config.model))
        tokenizer = read_tokenizer(folder.path)
        info = model_info(config, folder, tokenizer)
        ends = frozenset(folder.eos) | {
            id for text, id in tokenizer.vocabulary.added.items() if text == tokenizer.eos
        }
        return VllmProcess(
            config,
            info,
            tokenizer,
            ends,
            self._markers,
            self._hang_timeout,
            self.quarantine,
            confine=self._confine,
        )

    def _take_less(self, reason: str) -> bool:
        """Take a smaller share of the cards' memory from now on; -> False if there is no less."""
        share = round(self.config.gpu_memory - MEMORY_STEP, 2)
        if not self.config.cards or share < MIN_MEMORY:
            return False
        change = f"gpu_memory {self.config.gpu_memory:g} -> {share:g}: {reason}"
        log.warning("the model's configuration is changed: %s", change)
        self.changes.append(change)
        self.config = replace(self.config, gpu_memory=share)
        return True
