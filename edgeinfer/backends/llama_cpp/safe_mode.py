"""Settings that ask for less: what to try after a model crashed in its self-test, or found too little memory."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.worker_exit import MEMORY, Death
from edgeinfer.errors import EdgeinferError, NoGPU
from edgeinfer.gguf.file_identity import file_identity

log = logging.getLogger("edgeinfer.worker")

LEAST_CTX = 512
"""Tokens; a smaller context would serve nobody."""

MOST_REMEMBERED = 64


class Safer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to change in a model's settings so that it survives its self-test. None: nothing.

    `reason` is how it died with the settings as they were.
    """

    reason: str
    repack: bool | None = None
    mmap: bool | None = None
    threads: int | None = None
    gpu_layers: int | None = None

    def applied(self, config: LlamaConfig) -> LlamaConfig:
        return replace(
            config,
            repack=config.repack and self.repack is not False,
            mmap=config.mmap and self.mmap is not False,
            threads=min(config.threads, self.threads or config.threads),
            gpu_layers=0 if self.gpu_layers == 0 else config.gpu_layers,
        )


def safer(config: LlamaConfig) -> LlamaConfig | None:
    """With one thing less that is known to crash on some machines; None: there is nothing left."""
    if config.repack:
        return replace(config, repack=False)
    if config.mmap:
        return replace(config, mmap=False)
    if config.threads > 1:
        return replace(config, threads=1)
    return replace(config, gpu_layers=0) if config.gpu_layers else None


def smaller(config: LlamaConfig) -> LlamaConfig | None:
    """With less memory: fewer answers at once, then one pool for all, then a shorter context; None: at the end."""
    if config.parallel > 1:
        return _sized(replace(config, parallel=config.parallel // 2))
    if config.layout == "streams":
        # One pool without flash attention takes large compute buffers.
        return _sized(replace(config, layout="unified", flash_attention=True))
    if config.repack:
        return replace(config, repack=False)
    return _sized(replace(config, ctx=config.ctx // 2)) if config.ctx >= 2 * LEAST_CTX else None


def _sized(config: LlamaConfig) -> LlamaConfig:
    """With as many cells as it needs, and no more than it had."""
    if config.layout == "streams":
        return replace(config, cells=config.slots * config.ctx)
    return replace(config, cells=max(config.ctx, min(config.cells, config.parallel * config.ctx // 2)))


def changes(before: LlamaConfig, after: LlamaConfig) -> str:
    """In words: "parallel 4 instead of 8, cells 20480 instead of 36864"."""
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


class Attempt:
    """To load a model, with other settings after each failure.

    Attributes:
        start: where the series began.
        crash: how it died with these, "" if it did not crash.
        looked: whether the machine has been looked at.
    """

    UNEXPLAINED = 2
    """So often the same is tried again, where the worker was killed and nobody knows by whom."""

    def __init__(self, config: LlamaConfig, looked: bool = True) -> None:
        self.start = config
        self.crash = ""
        self.looked = looked
        self._unexplained = 0

    def look(self, planned: LlamaConfig | None) -> None:
        """The machine has been looked at, and the series begins again with `planned`, unless all is as it was."""
        self.looked = True
        if planned:
            self.start, self.crash = planned, ""

    def otherwise(
        self, config: LlamaConfig, error: EdgeinferError, death: Death | None
    ) -> LlamaConfig | None:
        """What to try after a failure with `config`; None: give up."""
        if death.out_of_memory if death else MEMORY.search(error.message):
            less = smaller(config)
            self.start, self.crash = less or config, ""
            return less
        if isinstance(error, NoGPU):
            return replace(config, gpu_layers=0)
        if death is None or death.verdict:
            return None
        if death.crashed:
            self.crash = self.crash or f"{death} in the self-test"
            return safer(config)
        self._unexplained += death.status < 0
        return config if death.status < 0 and self._unexplained <= self.UNEXPLAINED else None


class Fallbacks:
    """What safer settings have proved themselves, by model file and version of llama.cpp.

    Kept in a file, as a crash at every start would cost a minute; None keeps nothing. A file that cannot be read
    or written is no reason not to serve.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def known(self, config: LlamaConfig) -> Safer | None:
        return _read(self._path).get(_key(config)) if self._path else None

    def remember(self, wanted: LlamaConfig, proved: LlamaConfig, reason: str) -> None:
        """`wanted` crashed, `proved` does not."""
        if self._path is None:
            return
        found = Safer(
            reason,
            repack=None if proved.repack == wanted.repack else proved.repack,
            mmap=None if proved.mmap == wanted.mmap else proved.mmap,
            threads=None if proved.threads == wanted.threads else proved.threads,
            gpu_layers=None if proved.gpu_layers == wanted.gpu_layers else proved.gpu_layers,
        )
        kept = {**_read(self._path), _key(wanted): found}
        try:
            _write(self._path, dict(list(kept.items())[-MOST_REMEMBERED:]))
        except OSError as e:
            log.warning("the safer settings could not be remembered: %s", e)


def remembered(path: Path) -> dict[str, Safer]:
    """Model file -> what was changed for it: for those who report on the installation."""
    return {key.partition("\n")[0]: found for key, found in _read(path).items()}


def _key(config: LlamaConfig) -> str:
    """Another file, a file that was replaced, and another llama.cpp may well do without."""
    file = file_identity(config.model)
    version = "?"
    with contextlib.suppress(metadata.PackageNotFoundError):
        version = metadata.version("llama-cpp-python")
    return f"{config.model}\n{file.size} {file.mtime_ns} {version}"


def _read(path: Path) -> dict[str, Safer]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Safer])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, msgspec.DecodeError) as e:
        log.warning("%s cannot be read, so no safer settings are known: %s", path, e)
        return {}


def _write(path: Path, kept: dict[str, Safer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(kept)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
