"""Writes files that survive a power cut, and holds locks that end with their process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from edgeinfer.errors import StoreBusy, StoreError

CHUNK = 1 << 20


def fsync_path(path: Path) -> None:
    """Make what was written to a file, or renamed in a directory, survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # directories on some network file systems
            raise
    finally:
        os.close(fd)


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file in hex; `progress` is called with the size of each piece read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            if progress:
                progress(len(piece))
    return digest.hexdigest()


def files_below(directory: Path) -> list[Path]:
    """List all files below a directory, including links, without following them; empty if there is none."""
    return [Path(top) / name for top, _, names in os.walk(directory) for name in names]


def remove_empty(directory: Path, top: Path) -> None:
    """Remove `directory` and its parents as long as they are empty and below `top`."""
    with contextlib.suppress(OSError):
        while directory != top and directory.is_relative_to(top):
            directory.rmdir()
            directory = directory.parent


def remove_empty_below(top: Path, before: float) -> None:
    """Remove the empty directories below `top` that were last changed before the time `before`."""
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            if Path(directory).lstat().st_mtime < before and Path(directory) != top:
                Path(directory).rmdir()


@contextlib.contextmanager
def file_lock(path: Path, what: str, wait: float) -> Iterator[None]:
    """Hold the lock file at `path` against all other processes and threads.

    Raises:
        StoreBusy: it was still held elsewhere after `wait` seconds.
    """
    with as_store_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        with as_store_errors(str(path)):
            deadline = time.monotonic() + wait
            while not _lock(file.fileno()):
                if time.monotonic() >= deadline:
                    raise _busy(file, what)
                time.sleep(0.05)
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


def _busy(file: TextIO, what: str) -> StoreBusy:
    file.seek(0)
    holder = file.read(20).strip()
    hint = f"wait for it, or stop it: kill {holder}" if holder.isdigit() else "try again"
    return StoreBusy(f"process {holder or '?'} is busy with {what}", hint=hint)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def as_store_errors(what: str) -> Iterator[None]:
    """Turn OSError into StoreError."""
    try:
        yield
    except OSError as e:
        hint = None
        if isinstance(e, PermissionError):
            hint = "run this as the store's owner (sudo), or set EDGEINFER_STORE to a directory of your own"
        raise StoreError(f"{what}: {e.strerror or e}", param="store", hint=hint) from e
