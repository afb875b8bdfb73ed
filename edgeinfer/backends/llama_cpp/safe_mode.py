"""Configurations that demand less, for a model that crashed in its self-test or found too little memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.supervision.worker_exit import OUT_OF_MEMORY, WorkerExit
from edgeinfer.errors import EdgeinferError, NoGPU
from edgeinfer.gguf.file_identity import file_identity
from edgeinfer.llama_version import llama_version

log = logging.getLogger("edgeinfer.worker")

MIN_CTX = 512
"""Tokens; a smaller context is of no use to anyone."""

MAX_ENTRIES = 64
"""Models that a SafeModeStore remembers."""


class ConfigOverride(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes to a model's configuration with which it survives its self-test. None changes nothing.

    `reason` is how the worker exited without them.
    """

    reason: str
    repack: bool | None = None
    mmap: bool | None = None
    threads: Annotated[int, Meta(ge=1, le=4096)] | None = None
    gpu_layers: Annotated[int, Meta(ge=-1, le=10_000)] | None = None
    draft_model: Literal[False] | None = None

    def applied(self, config: LlamaConfig) -> LlamaConfig:
        return _as_deterministic(
            replace(
                config,
                repack=config.repack and self.repack is not False,
                mmap=config.mmap and self.mmap is not False,
                threads=min(config.threads, self.threads or config.threads),
                gpu_layers=0 if self.gpu_layers == 0 else config.gpu_layers,
                draft_model=None if self.draft_model is False else config.draft_model,
            )
        )


def safer(config: LlamaConfig) -> LlamaConfig | None:
    """`config` without one more thing that may crash; None if nothing is left."""
    if config.draft_model:
        return replace(config, draft_model=None)
    if config.repack:
        return _as_deterministic(replace(config, repack=False))
    if config.mmap:
        return replace(config, mmap=False)
    if config.threads > 1:
        return replace(config, threads=1)
    return replace(config, gpu_layers=0) if config.gpu_layers else None


def smaller(config: LlamaConfig) -> LlamaConfig | None:
    """`config` with less memory; None if nothing is left to reduce.

    First there is no draft model, then fewer answers run at once, then all share one pool, then the context is shorter.
    No prefixes are kept in RAM.
    """
    config = replace(config, ram_cache_mb=0)
    if config.draft_model:
        return replace(config, draft_model=None)
    if config.parallel > 1:
        return _sized(replace(config, parallel=config.parallel // 2))
    if config.layout == "streams":
        # One pool without flash attention takes large compute buffers.
        return _as_deterministic(_sized(replace(config, layout="unified", flash_attention=True)))
    if config.repack:
        return _as_deterministic(replace(config, repack=False))
    return _sized(replace(config, ctx=config.ctx // 2)) if config.ctx >= 2 * MIN_CTX else None


def _as_deterministic(config: LlamaConfig) -> LlamaConfig:
    """`config` without a claim that it does not keep: if it has to keep it, answers are computed one at a time."""
    if config.determinism != "by_row" or config.why_rows_differ is None:
        return config
    if not config.deterministic:
        return replace(config, determinism="none")
    return _sized(replace(config, determinism="alone", parallel=1, max_draft=0, draft_model=None))


def _sized(config: LlamaConfig) -> LlamaConfig:
    """`config` with as many cells as it needs, and no more than it had."""
    if config.layout == "streams":
        return replace(config, cells=config.slots * config.ctx)
    return replace(config, cells=max(config.ctx, min(config.cells, config.parallel * config.ctx // 2)))


def differences(before: LlamaConfig, after: LlamaConfig) -> str:
    """The changed fields in words: "parallel 4 instead of 8, cells 20480 instead of 36864"."""
    return ", ".join(_differences(before, after))


def _differences(before: LlamaConfig, after: LlamaConfig) -> Iterator[str]:
    for name in LlamaConfig.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{name} {_shown(new)} instead of {_shown(old)}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


class LoadAttempt:
    """Decides with which configuration to try again after each failure to load a model.

    Attributes:
        start: the configuration that the present series of tries began with.
        crash: how the worker exited with it, "" if it did not crash.
        examined: the machine has been examined.
    """

    MAX_UNEXPLAINED_RETRIES = 2
    """Retries without any change after the worker was killed for an unknown reason."""

    def __init__(self, config: LlamaConfig, examined: bool = True) -> None:
        self.start = config
        self.crash = ""
        self.examined = examined
        self._unexplained = 0

    def on_examined(self, planned: LlamaConfig | None) -> None:
        """The series begins again with the new plan, unless there is none."""
        self.examined = True
        if planned:
            self.start, self.crash = planned, ""

    def next_config(
        self, config: LlamaConfig, error: EdgeinferError, exit: WorkerExit | None
    ) -> LlamaConfig | None:
        """The configuration to try after a failure with `config`; None gives up."""
        if exit.out_of_memory if exit else OUT_OF_MEMORY.search(error.message):
            less = smaller(config)
            self.start, self.crash = less or config, ""
            return less
        if isinstance(error, NoGPU):
            return replace(config, gpu_layers=0)
        if exit is None or exit.kill_reason:
            return None
        if exit.crashed:
            self.crash = self.crash or f"{exit} in the self-test"
            return safer(config)
        self._unexplained += exit.status < 0
        return config if exit.status < 0 and self._unexplained <= self.MAX_UNEXPLAINED_RETRIES else None


class SafeModeStore:
    """Remembers which safer configurations worked, by model file and version of llama.cpp.

    They are kept in a file, since a crash at every start would cost a minute; without a path nothing is kept. A file
    that cannot be read or written does not keep the model from being served.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def get(self, config: LlamaConfig) -> ConfigOverride | None:
        return _read(self._path).get(_key(config)) if self._path else None

    def remember(self, wanted: LlamaConfig, proven: LlamaConfig, reason: str) -> None:
        """`wanted` crashed for `reason`, `proven` does not."""
        if self._path is None:
            return
        override = ConfigOverride(
            reason,
            repack=None if proven.repack == wanted.repack else proven.repack,
            mmap=None if proven.mmap == wanted.mmap else proven.mmap,
            threads=None if proven.threads == wanted.threads else proven.threads,
            gpu_layers=None if proven.gpu_layers == wanted.gpu_layers else proven.gpu_layers,
            draft_model=None if proven.draft_model == wanted.draft_model else False,
        )
        overrides = {**_read(self._path), _key(wanted): override}
        try:
            _write(self._path, dict(list(overrides.items())[-MAX_ENTRIES:]))
        except OSError as e:
            log.warning("the safer settings could not be remembered: %s", e)


def read_overrides(path: Path) -> dict[str, ConfigOverride]:
    """All remembered overrides by the path of their model file, for reports on the installation."""
    return {key.partition("\n")[0]: override for key, override in _read(path).items()}


def _key(config: LlamaConfig) -> str:
    """Another file, a file that was replaced, and another llama.cpp may well do without an override."""
    file = file_identity(config.model)
    return f"{config.model}\n{file.size} {file.mtime_ns} {llama_version() or '?'}"


def _read(path: Path) -> dict[str, ConfigOverride]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ConfigOverride])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as e:
        log.warning("%s cannot be read, so no safer settings are known: %s", path, e)
        return {}


def _write(path: Path, overrides: dict[str, ConfigOverride]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(overrides)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
