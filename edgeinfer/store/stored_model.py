"""Describes a model that the store has a record of, and tells whether it can be served."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from msgspec.structs import replace

Origin = Literal["hub", "import", "quantized"]


class StoredPart(msgspec.Struct, frozen=True):
    """One file of a model that has several; `file` is its name in the model's folder."""

    file: str
    size: int
    sha256: str


def parts_digest(parts: Sequence[StoredPart]) -> str:
    """Return the hash of a list of files, as sha256sum would write it."""
    lines = "".join(f"{part.sha256}  {part.file}\n" for part in sorted(parts, key=lambda part: part.file))
    return hashlib.sha256(lines.encode()).hexdigest()


class StoredModel(msgspec.Struct, frozen=True):
    """A model in the store.

    Attributes:
        name: the catalogue's, or one made from the file's.
        path: absolute; of a model in safetensors, the folder.
        size: in bytes.
        sha256: of the content, in hex; of a model in safetensors, of the list of its files.
        repo: "OWNER/NAME" on the hub; "local/NAME" for a file of unknown origin.
        revision: commit, 40 hex digits.
        file: path within the repository.
        origin: the file of an "import" lies outside the store.
        added: seconds since the epoch by the machine's clock; a later model always has a larger value.
        mtime_ns: of an imported file, at the time of the import.
        parts: the files of a model in safetensors; empty for a GGUF file.
        roles: as its header showed them; the catalogue's roles take precedence.
    """

    name: str
    quant: str
    path: Path
    size: int
    sha256: str
    repo: str
    revision: str
    file: str
    origin: Origin
    added: float = 0.0
    mtime_ns: int | None = None
    roles: tuple[str, ...] | None = None
    parts: tuple[StoredPart, ...] = ()


def model_problem(stored: StoredModel) -> str | None:
    """Explain why a model cannot be served, without reading its file; None if it can."""
    if stored.parts:
        return next((problem for part in stored.parts if (problem := _part_problem(stored, part))), None)
    try:
        status = stored.path.stat() if stored.origin == "import" else stored.path.lstat()
    except OSError as e:
        return "its file is missing" if isinstance(e, FileNotFoundError) else f"its file: {e.strerror}"
    return None if _is_as_recorded(stored, status) else "its file has changed"


def part_of(stored: StoredModel, part: StoredPart) -> StoredModel:
    """Describe one file of a model in safetensors as if it were a model of its own."""
    return replace(
        stored, path=stored.path / part.file, size=part.size, sha256=part.sha256, file=part.file, parts=()
    )


def _part_problem(stored: StoredModel, part: StoredPart) -> str | None:
    problem = model_problem(part_of(stored, part))
    return problem and f"{part.file}: {problem}"


def open_model(stored: StoredModel) -> BinaryIO:
    """Open a model's file, and check what has been opened: its path may name another file at any time.

    Raises:
        OSError: it cannot be opened, or is not the file that the record is about.
    """
    links = 0 if stored.origin == "import" else os.O_NOFOLLOW
    descriptor = os.open(
        stored.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | links
    )  # a FIFO would block
    file = os.fdopen(descriptor, "rb")
    if not _is_as_recorded(stored, os.fstat(descriptor)):
        file.close()
        raise OSError(errno.ESTALE, "the file has changed", str(stored.path))
    return file


def _is_as_recorded(stored: StoredModel, status: os.stat_result) -> bool:
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == stored.size
        and stored.mtime_ns in (None, status.st_mtime_ns)
    )
