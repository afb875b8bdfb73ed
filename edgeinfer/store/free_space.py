"""Whether a disk has room for what is to be written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeinfer.errors import DiskFull
from edgeinfer.store.progress import size_text

RESERVED_BYTES = 64 << 20
"""Bytes of a disk that are left to the system."""


def check_free_space(directory: Path, needed: int, reserve: int = RESERVED_BYTES) -> None:
    """Raises DiskFull where writing `needed` bytes below `directory` would leave less than `reserve`."""
    if needed + reserve > shutil.disk_usage(directory).free:
        raise disk_full_error(directory, needed, reserve=reserve)


def disk_full_error(
    directory: Path, needed: int, *, kept: int = 0, reserve: int = RESERVED_BYTES
) -> DiskFull:
    free = size_text(shutil.disk_usage(directory).free)
    message = f"the disk of {directory} has {free} free, and {size_text(needed)} are to be written"
    message += f", with {size_text(reserve)} left to the system"
    hint = "make room (edgeinfer models ls, edgeinfer models rm NAME), or set EDGEINFER_STORE to another disk"
    if kept:
        hint += f"; the {size_text(kept)} that came are kept, and the same command goes on from there"
    return DiskFull(message, param="store", hint=hint)
