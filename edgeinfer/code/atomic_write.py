"""Writes the files of a change: all of them or none, and each as a whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeinfer.code.beneath import FILE, opened_folder, read_file
from edgeinfer.code.file_change import FileChange
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError

MAX_SIZE = 1 << 30
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NEW_MODE = 0o666
"""As any program makes a file; the user's umask takes rights away."""


def write_changes(root: Path, changes: Sequence[FileChange]) -> None:
    """Write all files, if each still is what the change was made for; if one fails, the others are put back.

    Mode and owner stay. To be called while `signals_wait`.

    Raises:
        EdgeinferError: a file has changed meanwhile, or belongs to somebody else. Nothing has been written then.
        OSError: as for EdgeinferError, from the system.
    """
    for change in changes:
        _check(root, change)
    done: list[FileChange] = []
    try:
        for change in changes:
            _write(root, change)
            done.append(change)
    except BaseException:
        for change in reversed(done):
            with contextlib.suppress(OSError, EdgeinferError):
                _write(root, change.reversed())
        raise


def _check(root: Path, change: FileChange) -> None:
    """Compare a file with what it was when the change was made."""
    try:
        with opened_folder(root, change.name) as (folder, last):
            data, _ = read_file(os.open(last, FILE, dir_fd=folder), change.name, MAX_SIZE)
    except FileNotFoundError:
        data = None
    if data != change.before:
        what = "exists by now" if change.before is None else "has changed meanwhile"
        raise EdgeinferError(f"{visible(change.name)} {what}: nothing is written")


def _write(root: Path, change: FileChange) -> None:
    _check(root, change)
    with opened_folder(root, change.name, make=change.after is not None) as (folder, last):
        if change.after is None:
            os.unlink(last, dir_fd=folder)
            return
        temporary = f".{last[:100]}.{secrets.token_hex(4)}~"
        try:
            _write_temporary(temporary, folder, change.after, _status(last, folder))
            os.rename(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
        os.fsync(folder)


def _write_temporary(name: str, folder: int, data: bytes, like: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, NEW_MODE, dir_fd=folder), "wb") as file:
        if like:
            own = os.fstat(file.fileno())
            if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                _keep_owner(file.fileno(), like, name)
            os.fchmod(file.fileno(), like.st_mode & 0o7777)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep_owner(descriptor: int, like: os.stat_result, name: str) -> None:
    try:
        os.fchown(descriptor, like.st_uid, like.st_gid)
    except PermissionError as e:
        raise EdgeinferError(
            f"{visible(name)} belongs to another user or group, and would not any more"
        ) from e


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Hold back Ctrl-C, and what else would end us, for the time of the block."""
    came: list[int] = []
    # Blocking them would not do where there is another thread: it would get them.
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for late in came:
            signal.raise_signal(late)
