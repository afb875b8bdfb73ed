"""What a daemon has loaded first. The next one's first worker reads that model while the daemon still plans."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer import __version__
from edgeinfer.backends.llama_cpp.messages import Load
from edgeinfer.llama_version import llama_version

MAX_RECORDS = 8
"""Commands whose first load is remembered, each in a file of its own."""


class FileState(msgspec.Struct, frozen=True):
    """A file as it is at a moment: whatever is written to it later, its ctime will tell."""

    inode: int
    size: int
    ctime_ns: int


class FirstLoad(msgspec.Struct, frozen=True):
    """The first load of a daemon that was started with some command.

    Attributes:
        load: what its worker was told.
        files: the model's file and the draft model's, as they were then; None for one that is no file.
        versions: of edgeinfer and of llama.cpp, which decide what is a valid file.
    """

    load: Load
    files: tuple[FileState | None, FileState | None]
    versions: str

    @classmethod
    def of(cls, load: Load) -> FirstLoad:
        """What is about to be loaded."""
        return cls(load, _files(load), _versions())

    @property
    def size(self) -> int:
        """The size of the model's file in bytes."""
        return self.files[0].size if self.files[0] else 0

    @property
    def is_unchanged(self) -> bool:
        """The files are still those that were checked and loaded, by these programs."""
        return bool(self.size) and self.versions == _versions() and self.files == _files(self.load)

    @property
    def may_be_early(self) -> bool:
        """It need not wait for a plan, which measures what is free on a GPU; and it is read in confinement."""
        return self.is_unchanged and self.load.confine and not self.load.config.gpu_layers

    def suits(self, load: Load) -> bool:
        """What a worker has read for this is what it has to read for `load`."""
        return self.may_be_early and _reading(self.load) == _reading(load)


def read_first_load(content: bytes) -> FirstLoad | None:
    """Decode a record; None if there is none, or it is another version's."""
    try:
        return msgspec.json.decode(content, type=FirstLoad)
    except (msgspec.MsgspecError, RecursionError):
        return None


def remember_first_load(record: Path, first: FirstLoad) -> None:
    """Write what the daemon's first worker has loaded, unless the next one has to wait for the plan."""
    with contextlib.suppress(OSError):  # the next start takes longer, and that is all
        if not first.may_be_early:
            record.unlink(missing_ok=True)
            return
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=record.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(first))
            Path(name).replace(record)
        finally:
            Path(name).unlink(missing_ok=True)
        records = sorted(record.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in records[MAX_RECORDS:]:
            path.unlink(missing_ok=True)


def _files(load: Load) -> tuple[FileState | None, FileState | None]:
    return _state(load.config.model), _state(load.config.draft_model)


def _state(path: str | None) -> FileState | None:
    try:
        status = Path(path or "").stat()
    except (OSError, ValueError):
        return None
    return FileState(status.st_ino, status.st_size, status.st_ctime_ns) if path else None


def _versions() -> str:
    return f"{__version__} {llama_version() or ''}".rstrip()


def _reading(load: Load) -> tuple[Any, ...]:
    """What decides how a model is read, and what the process that reads it may do."""
    config = load.config
    how = (config.cpus, config.gpu_layers, config.main_gpu, config.mmap, config.repack)
    return config.model, config.draft_model, how, load.prefix_cache, load.confine
