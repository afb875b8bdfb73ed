"""What a daemon has loaded first. The next one's first worker reads that model while the daemon still plans."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer.backends.llama_cpp.messages import Load
from edgeinfer.gguf.file_identity import FileIdentity, file_identity

MAX_RECORDS = 8
"""Commands whose first load is remembered, each in a file of its own."""


class FirstLoad(msgspec.Struct, frozen=True):
    """The first load of a daemon that was started with some command.

    Attributes:
        load: what its worker was told.
        identity: the model's file, as it was then.
    """

    load: Load
    identity: FileIdentity

    @property
    def is_unchanged(self) -> bool:
        """The file is still the one that was loaded."""
        return bool(self.identity.size) and self.identity == file_identity(self.load.config.model)

    def suits(self, load: Load) -> bool:
        """What a worker has read for this is what it has to read for `load`."""
        return self.is_unchanged and _reading(self.load) == _reading(load)


def read_first_load(content: bytes) -> FirstLoad | None:
    """Decode a record; None if there is none, or it is another version's."""
    try:
        return msgspec.json.decode(content, type=FirstLoad)
    except msgspec.MsgspecError:
        return None


def remember_first_load(record: Path, load: Load) -> None:
    """Write what the daemon's first worker has loaded, unless the next one had better wait for the plan."""
    first = FirstLoad(load, file_identity(load.config.model))
    with contextlib.suppress(OSError):  # the next start takes longer, and that is all
        if not first.is_unchanged or load.config.gpu_layers:  # the plan measures what is free on a GPU
            record.unlink(missing_ok=True)
            return
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=record.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(first))
        Path(name).replace(record)
        records = sorted(record.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in records[MAX_RECORDS:]:
            path.unlink(missing_ok=True)


def _reading(load: Load) -> tuple[Any, ...]:
    """What decides how a model is read, and what the process that reads it may do."""
    config = load.config
    how = (config.cpus, config.gpu_layers, config.main_gpu, config.mmap, config.repack)
    return config.model, config.draft_model, how, load.prefix_cache, load.confine
