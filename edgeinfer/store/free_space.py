"""Checks that a disk has enough free space before anything is written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeinfer.errors import DiskFull
from edgeinfer.store.progress import size_text

RESERVED_BYTES = 64 << 20
"""Left free on every disk for the system."""


def check_free_space(directory: Path, needed: int, reserve: int = RESERVED_BYTES) -> None:
    """Raise DiskFull if writing `needed` bytes below `directory` would leave less than `reserve`."""
    if needed + reserve > shutil.disk_usage(directory).free:
        raise disk_full_error(directory, needed, reserve=reserve)


def disk_full_error(
    directory: Path, needed: int, *, received: int = 0, reserve: int = RESERVED_BYTES
) -> DiskFull:
    """Describe a disk that is too full; `received` bytes are already there and stay for the next attempt."""
    free = size_text(shutil.disk_usage(directory).free)
    message = f"{size_text(needed)} are needed in {directory}, but its disk has {free} free"
    message += f", of which {size_text(reserve)} are reserved for the system"
    hint = "free some space (edgeinfer models ls, edgeinfer models rm NAME), or set EDGEINFER_STORE to another disk"
    if received:
        hint += (
            f"; the {size_text(received)} received so far are kept: run the same command again to continue"
        )
    return DiskFull(message, param="store", hint=hint)
