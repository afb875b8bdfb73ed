"""Tells one model file from another without reading it."""

from __future__ import annotations

import hashlib
import os

import msgspec


class FileIdentity(msgspec.Struct, frozen=True):
    """Identifies a model file; a file that is replaced gets another identity under the same path.

    Attributes:
        path: absolute, with symbolic links resolved; as it was given if there is no such file.
        size: bytes; 0 if there is no such file.
        mtime_ns: time of the last change; 0 if there is no such file.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0

    @property
    def revision(self) -> str:
        """A short text for the identity, as `ModelInfo.revision` has it."""
        return hashlib.sha256(repr((self.path, self.size, self.mtime_ns)).encode()).hexdigest()[:16]


def file_identity(path: str) -> FileIdentity:
    """Identify the file that is at `path` now."""
    try:
        status = os.stat(path)  # noqa: PTH116  # "fake" is a model too, and not a path
    except OSError:
        return FileIdentity(path)
    return FileIdentity(os.path.realpath(path), status.st_size, status.st_mtime_ns)
