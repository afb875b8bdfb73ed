"""Opens files beneath a folder without following a link, so that nothing leads out of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from edgeinfer.errors import EdgeinferError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe without a writer would otherwise hold us up."""


@contextmanager
def opened_folder(root: Path, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder of the file `name`; yields its descriptor and the last part of the name.

    Raises:
        OSError: a part of the way is missing, a link, or no folder.
    """
    *way, last = PurePosixPath(name).parts
    if {"/", ".."} & {*way, last}:
        raise OSError(errno.EPERM, "it is outside", name)
    folder = os.open(root, FOLDER & ~os.O_NOFOLLOW)
    try:
        for part in way:
            if make and not _exists(part, folder):
                os.mkdir(part, dir_fd=folder)
            inner = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, last
    finally:
        os.close(folder)


def read_beneath(root: Path, name: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the content and the status of a regular file.

    Raises:
        EdgeinferError: it is something else, or larger than `limit`.
        OSError: it cannot be opened, or is a link.
    """
    with opened_folder(root, name) as (folder, last):
        return read_file(os.open(last, FILE, dir_fd=folder), name, limit)


def read_file(descriptor: int, name: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file whole, and close its descriptor; raises EdgeinferError as `read_beneath` does."""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise EdgeinferError(f"{name} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise EdgeinferError(f"{name} is larger than {limit // 1000:,} kB")
    return data, status


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
