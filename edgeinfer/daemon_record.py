"""Records where a daemon listens, with a key for its own user and for root, who need no other.

Each daemon writes a file that only these two can read. Where it cannot, nothing depends on it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgeinfer.user_folders import state_folder

SYSTEM_STATE = Path("/var/lib/edgeinfer")
MAX_SIZE = 10_000
"""Bytes of a record; more is none."""


class DaemonRecord(msgspec.Struct, frozen=True):
    """A running daemon.

    Attributes:
        addresses: URLs, or `unix:` and the path of a socket.
        key: a key that it accepts while it runs; None if it asks for none.
    """

    pid: Annotated[int, Meta(gt=0)]
    addresses: list[str]
    key: str | None = None


def record_folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders whose records this user may read; a daemon writes its own to the first one."""
    system = SYSTEM_STATE / "daemon/running"
    if str(SYSTEM_STATE) in environ.get("STATE_DIRECTORY", "").split(":"):  # set by systemd
        return [system]
    if os.geteuid() == 0:
        named = environ.get("XDG_STATE_HOME")
        return [state_folder(environ) / "running" if named else SYSTEM_STATE / "running", system]
    return [state_folder(environ) / "running"]


@contextlib.contextmanager
def recorded(addresses: Sequence[str], key: str | None) -> Iterator[None]:
    """Keep a record of this process during the block."""
    path = record_folders()[0] / f"{os.getpid()}.json"
    record = DaemonRecord(os.getpid(), list(addresses), key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in path.parent.glob("*.json"):
            if not _is_running(old.stem):
                old.unlink()
        _write(path, msgspec.json.encode(record))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def read_records(environ: Mapping[str, str] = os.environ) -> list[DaemonRecord]:
    """Return the daemons that run and that this user may know of."""
    paths = [path for folder in record_folders(environ) for path in folder.glob("*.json")]
    records = [record for path in sorted(paths) if (record := _read(path))]
    return [record for record in records if _is_running(str(record.pid))]


def _write(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(name).replace(path)


def _read(path: Path) -> DaemonRecord | None:
    """Read a record. The folder may be that of a user whom root does not trust: no links, no pipes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return msgspec.json.decode(file.read(MAX_SIZE), type=DaemonRecord)
    except (OSError, ValueError, RecursionError):
        return None


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
