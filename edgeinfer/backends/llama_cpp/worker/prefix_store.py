"""Beginnings of prompts on disk, from the end of one worker to the start of the next: reading a file is faster.

One file for each sequence of the KV cache: a line of JSON that says for what it is, and then llama.cpp's own state of
the sequence, which carries no fingerprint and is believed by llama.cpp. So nothing is read but from a directory that
is ours alone, and only if model, configuration, llama.cpp and content are those of the file's first line.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.gguf.file_identity import file_identity

if TYPE_CHECKING:
    from edgeinfer.engine.kv_cache import KVCache

log = logging.getLogger("edgeinfer.worker")

SUFFIX = ".prefix"
LEAST = 64
"""Tokens; what is shorter is read anew as fast."""

SECONDS = 8.0
"""That saving may take: somebody waits for the end."""

HEADER = 1 << 20
"""Bytes of a model file that stand for the whole of it, beside its size and time of change."""

LONGEST_LINE = 16 << 20


class Kept(msgspec.Struct, frozen=True):
    """A file's first line. `sha256` is of what follows it, `fits` of all that has to be the same to use it."""

    fits: str
    sha256: str
    tokens: list[int]


def save(shelf: PrefixCacheConfig, config: LlamaConfig, cache: KVCache) -> None:
    """Keep what was used last, as much as there is room and time for; anything else in the directory goes."""
    end = time.monotonic() + SECONDS
    left, fits = shelf.megabytes * 1_000_000, _fits(config)
    seen: list[list[int]] = []
    try:
        _own(Path(shelf.directory))
        _clear(Path(shelf.directory))
        for number, slot in enumerate(cache.resident_slots()):
            tokens = list(slot.tokens)
            if time.monotonic() > end or left <= 0:
                break
            if len(tokens) < LEAST or any(other[: len(tokens)] == tokens for other in seen):
                continue
            seen.append(tokens)
            data = cache.backend.save(slot.id)
            if len(data) <= left:
                left -= len(data)
                kept = Kept(fits, hashlib.sha256(data).hexdigest(), tokens)
                _write(Path(shelf.directory, f"{number:04}{SUFFIX}"), kept, data)
    except OSError as e:
        log.warning("prompts cannot be kept in %s: %s", shelf.directory, e)


def load(
    shelf: PrefixCacheConfig, config: LlamaConfig, cache: KVCache, between: Callable[[], None] = lambda: None
) -> int:
    """Put what is kept back into an empty cache; -> how many tokens that were. `between` is called after each file."""
    total = 0
    try:
        _own(Path(shelf.directory))
        for path in reversed(_fitting(Path(shelf.directory), _fits(config))):
            kept, data = _sound(path)
            if kept and len(kept.tokens) < config.ctx and cache.restore(kept.tokens, data):
                total += len(kept.tokens)
            between()
    except OSError as e:
        log.warning("prompts cannot be read from %s: %s", shelf.directory, e)
    return total


def _fitting(directory: Path, fits: str) -> list[Path]:
    """Files for this model and configuration, last used first."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            kept = _read_line(file)
        if kept and kept.fits == fits:
            found.append(path)
    return found


def _sound(path: Path) -> tuple[Kept | None, bytes]:
    """What a file holds; None where that is not what was written."""
    with path.open("rb") as file:
        kept, data = _read_line(file), file.read()
    if kept and hashlib.sha256(data).hexdigest() == kept.sha256:
        return kept, data
    log.warning("%s is damaged, and not used", path)
    return None, b""


def _read_line(file: BinaryIO) -> Kept | None:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(file.readline(LONGEST_LINE), type=Kept)
    return None


def _write(path: Path, kept: Kept, data: bytes) -> None:
    """Whole or not at all, and for nobody else's eyes: it holds what people asked."""
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(kept) + b"\n")
        file.write(data)
    partial.replace(path)


def _clear(directory: Path) -> None:
    for path in directory.iterdir():
        if path.suffix in (SUFFIX, ".partial"):
            path.unlink()


def _own(directory: Path) -> None:
    """Make it, or see that nobody else can write there. Raises PermissionError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError("others may read or write there; only an own directory of mode 0700 is used")


def _fits(config: LlamaConfig) -> str:
    """Everything that has to be the same, as a hash."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError), Path(config.model).open("rb") as file:
        identity = file_identity(config.model)
        digest.update(f"{identity.size} {identity.mtime_ns}".encode())
        digest.update(file.read(HEADER))
    version = "?"
    with contextlib.suppress(metadata.PackageNotFoundError):
        version = metadata.version("llama-cpp-python")
    same = (config.model, version, config.kv_type, config.flash_attention, config.layout, config.repack)
    digest.update(repr(same).encode())
    return digest.hexdigest()
