"""The directories of saved prefixes, one a model, below one root whose size is limited."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path

SUFFIX = ".prefix"
PARTIAL = ".partial"

TIME_STEP = 1_000_000
"""Nanoseconds between the times of two files; file systems tell them apart, but for FAT."""

MAX_AGE = 30 * 86400.0
"""Seconds after which the prefixes of a model that has not saved any since are removed."""


class PrefixDirectory:
    """One model's directory. Only directories of ours with mode 0700 are used: llama.cpp believes what it reads.

    All models share the limit. Each may use what the others leave, and at least its fair share, for which others lose
    what they used least recently. Workers of several models may do this at once, so any file may be gone.
    """

    def __init__(self, root: Path, model: str, limit: int) -> None:
        """`limit`: bytes that all models' prefixes may have together."""
        self.path = root / _directory_name(model)
        self._root = root
        self._limit = limit

    def open(self) -> None:
        """Make the directory if it is not there. Raises PermissionError if others can reach it."""
        for path in (self._root, self.path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = path.stat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise PermissionError(f"{path} is open to others: only an own directory of mode 0700 is used")

    def files(self) -> list[Path]:
        """The saved prefixes, most recently used first."""
        return _files(self.path)

    def path_of(self, name: str) -> Path:
        """The file of a prefix."""
        return self.path / f"{name}{SUFFIX}"

    def keep(self, paths: Collection[Path]) -> None:
        """Remove all other files of the model, and the prefixes of models that have not been used for long."""
        for path in self.path.iterdir():
            if path.suffix in (SUFFIX, PARTIAL) and path not in paths:
                path.unlink(missing_ok=True)
        for path in _files(self._root):  # written before each model had a directory
            path.unlink(missing_ok=True)
        for path in self._others():
            if time.time() - _last_save(path) > MAX_AGE:
                shutil.rmtree(path, ignore_errors=True)

    def set_order(self, paths: Iterable[Path]) -> None:
        """Note in which order files were used, the most recently used first: their times of change tell it later."""
        now = time.time_ns()
        for number, path in enumerate(paths):
            changed = now - number * TIME_STEP
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, ns=(changed, changed))

    def budget(self) -> int:
        """Bytes that this model may save."""
        sizes = [size for path in self._others() if (size := sum(map(_size, _files(path))))]
        return max(self._limit - sum(sizes), self._limit // (len(sizes) + 1))

    def trim_others(self) -> None:
        """Remove other models' prefixes, the least recently used ones, until all are within the limit."""
        excess = sum(map(_size, self.files())) - self._limit
        others = sorted(self._others(), key=_last_save, reverse=True)
        for path in (file for directory in others for file in _files(directory)):
            excess += _size(path)
            if excess > 0:
                path.unlink(missing_ok=True)

    def _others(self) -> list[Path]:
        return [path for path in self._root.iterdir() if path != self.path and path.is_dir()]


def _directory_name(model: str) -> str:
    """Readable, made of characters that every file system takes, and different for different models."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", model)[:60].strip(".-")
    return f"{readable}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def _files(directory: Path) -> list[Path]:
    """The most recently used first."""
    return sorted(directory.glob(f"*{SUFFIX}"), key=_time, reverse=True)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _time(path: Path) -> float:
    """Time of the last change."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _last_save(directory: Path) -> float:
    """Time of the newest file; of the directory itself if it is empty."""
    return _time(next(iter(_files(directory)), directory))
