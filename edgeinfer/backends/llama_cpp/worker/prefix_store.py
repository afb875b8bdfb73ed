"""Saves KV-cache prefixes on disk, for workers to come: loading one is faster than computing it again.

One file for each sequence of the KV cache: a line of JSON that says what it is for, then llama.cpp's own state of the
sequence, which has no checksum and which llama.cpp trusts. So a file is only loaded from a directory that is ours alone,
and only if model, configuration, llama.cpp and content are those of the file's first line.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.backends.llama_cpp.worker.prefix_directory import PARTIAL, PrefixDirectory
from edgeinfer.engine.backend import SavedState
from edgeinfer.gguf.file_identity import file_identity
from edgeinfer.llama_version import llama_version

if TYPE_CHECKING:
    from edgeinfer.engine.kv_cache import KVCache
    from edgeinfer.engine.ram_cache import RamCacheEntry

log = logging.getLogger("edgeinfer.worker")

MIN_TOKENS = 64
"""A shorter prefix is computed as fast as it is loaded."""

IDLE_SECONDS = 10.0
"""Seconds without anything to compute until new prefixes are saved. A conversation that goes on sooner is saved once."""

SAVE_SECONDS = 8.0
"""Time limit of saving: the daemon waits for the worker's end."""

HEADER_BYTES = 1 << 20
"""The beginning of a model file that stands for its content, beside its size and time of change."""

MAX_LINE = 16 << 20


class SavedPrefix(msgspec.Struct, frozen=True):
    """The first line of a file.

    Attributes:
        fits: hash of everything that has to be the same for the file to be used.
        sha256: hash of the rest of the line and of the data after it.
        tokens: the prefix.
        domain: only prompts of this cache domain may use it.
    """

    fits: str
    sha256: str
    tokens: list[int]
    domain: str = ""


class Prefix(NamedTuple):
    """A prefix that can be saved. `state`: copies its cells, in `size` bytes."""

    domain: str
    tokens: list[int]
    size: int
    state: Callable[[], SavedState]


class PrefixCacheStore:
    """Saves the prefixes in a model's KV cache and in RAM below it, and loads them into empty ones.

    To be made when the model is loaded: its file may be another one by the time of saving.
    """

    def __init__(self, cache: PrefixCacheConfig, config: LlamaConfig) -> None:
        self._config = config
        self._fits = state_fingerprint(config)
        self._directory = PrefixDirectory(Path(cache.directory), config.name, cache.megabytes * 1_000_000)
        self._save_at: float | None = None

    @property
    def wait(self) -> float | None:
        """Seconds until `save_next` is to be called; None if there is nothing new."""
        return None if self._save_at is None else max(0.0, self._save_at - time.monotonic())

    def on_change(self) -> None:
        """Something was computed."""
        self._save_at = time.monotonic() + IDLE_SECONDS

    def save(self, cache: KVCache) -> None:
        """Save the most recently used prefixes, as many as space and time allow, in place of those saved before."""
        self._save(cache, None, time.monotonic() + SAVE_SECONDS)

    def save_next(self, cache: KVCache) -> bool:
        """Do a part of what `save` does, which takes little time; False if nothing is left to do.

        If the power fails, or the worker is killed, there is no time for that.
        """
        is_left = self._save(cache, 1, math.inf)
        if not is_left:
            self._save_at = None
        return is_left

    def load(self, cache: KVCache, on_file: Callable[[], None] = lambda: None) -> int:
        """Load the saved prefixes; -> how many tokens that were. `on_file` is called after each file."""
        total = 0
        try:
            self._directory.open()
            for path in reversed(self._usable()):
                saved, data = _read(path)
                if saved is None:
                    path.unlink(missing_ok=True)  # what is there is not written again
                elif len(saved.tokens) < self._config.ctx and cache.restore(saved.tokens, data, saved.domain):
                    total += len(saved.tokens)
                on_file()
        except OSError as e:
            log.warning("prefixes cannot be loaded from %s: %s", self._directory.path, e)
        return total

    def _save(self, cache: KVCache, most: int | None, deadline: float) -> bool:
        """Write at most so many files, and none after the deadline; -> whether `most` has left some."""
        try:
            self._directory.open()
            wanted = self._wanted(cache, self._directory.budget())
            self._directory.keep(wanted.keys())
            missing = [path for path in wanted if not path.exists()]
            for path in missing[:most]:
                if time.monotonic() > deadline:
                    break
                self._write(path, wanted[path])
            self._directory.set_order(wanted)
            self._directory.trim_others()
        except OSError as e:
            log.warning("prefixes cannot be saved in %s: %s", self._directory.path, e)
            return False
        return most is not None and len(missing) > most

    def _wanted(self, cache: KVCache, budget: int) -> dict[Path, Prefix]:
        """What is to be saved, by its file, the most recently used first."""
        found, wanted = list[Prefix](), dict[Path, Prefix]()
        for prefix in _prefixes(cache):
            tokens, others = prefix.tokens, (other.tokens for other in found if other.domain == prefix.domain)
            if len(tokens) < MIN_TOKENS or any(other[: len(tokens)] == tokens for other in others):
                continue
            found.append(prefix)
            if prefix.size <= budget:
                budget -= prefix.size
                name = hashlib.sha256(msgspec.json.encode((self._fits, prefix.domain, tokens))).hexdigest()[
                    :32
                ]
                wanted[self._directory.path_of(name)] = prefix
        return wanted

    def _write(self, path: Path, prefix: Prefix) -> None:
        line = SavedPrefix(self._fits, "", prefix.tokens, prefix.domain)
        data = prefix.state()
        _write(path, replace(line, sha256=_digest(line, data)), data)

    def _usable(self) -> list[Path]:
        """Files for this model and configuration, most recently used first."""
        usable = []
        for path in self._directory.files():
            with path.open("rb") as file:
                saved = _read_line(file)
            if saved is None:
                path.unlink(missing_ok=True)
            elif saved.fits == self._fits:
                usable.append(path)
        return usable


def _prefixes(cache: KVCache) -> Iterator[Prefix]:
    """What is in the KV cache, most recently used first; then what is in RAM below it."""
    for slot in cache.resident_slots():
        size, state = cache.backend.state_size(slot.id), partial(cache.backend.save, slot.id)
        yield Prefix(slot.domain, list(slot.tokens), size, state)
    for entry in cache.ram_cache.entries:
        yield Prefix(entry.domain, entry.tokens, len(entry.data), partial(_state, entry))


def _state(entry: RamCacheEntry) -> SavedState:
    return entry.data


def _read(path: Path) -> tuple[SavedPrefix | None, bytes]:
    """The content of a file, None if it is not what was written."""
    with path.open("rb") as file:
        saved, data = _read_line(file), file.read()
    if saved and _digest(saved, data) == saved.sha256:
        return saved, data
    log.warning("%s is damaged, and not used", path)
    return None, b""


def _digest(saved: SavedPrefix, data: SavedState) -> str:
    """Hash everything that is used: with other tokens, sound data would be the state of another prompt."""
    digest = hashlib.sha256(msgspec.json.encode(replace(saved, sha256="")))
    digest.update(data)
    return digest.hexdigest()


def _read_line(file: BinaryIO) -> SavedPrefix | None:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(file.readline(MAX_LINE), type=SavedPrefix)
    return None


def _write(path: Path, saved: SavedPrefix, data: SavedState) -> None:
    """Write all or nothing, readable by us alone: it contains what users asked."""
    unfinished = path.with_suffix(PARTIAL)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(saved) + b"\n")
        file.write(data)
    unfinished.replace(path)


def state_fingerprint(config: LlamaConfig) -> str:
    """Everything that has to be the same for a saved state to be used, as a hash."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError), Path(config.model).open("rb") as file:
        identity = file_identity(config.model)
        digest.update(f"{identity.size} {identity.mtime_ns}".encode())
        digest.update(file.read(HEADER_BYTES))
    same = (
        config.model,
        llama_version() or "?",
        config.kv_type,
        config.flash_attention,
        config.layout,
        config.repack,
    )
    rounded = (config.gpu_layers, config.determinism)  # what computed it, down to the last digits
    digest.update(repr((same, rounded)).encode())
    return digest.hexdigest()
