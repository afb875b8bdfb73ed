"""What a minder is told, and what it tells: files in a folder of the service's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edgeinfer.errors import ServiceFailed

if TYPE_CHECKING:  # the minder is there all the time, and plans nothing
    from edgeinfer.service.spec import Scope, ServiceSpec

SPENT = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM")
"""Of another service manager's environment, not to be taken for the minder's."""

FINAL = {2: "its settings are wrong", 3: "its model is missing or cannot be loaded"}
"""Exit statuses of a daemon that it would be no use to start again."""

LOG_LINES = 12
"""Of a failed start, that are shown."""

POLL = 0.1
COME_UP = 30.0
"""Seconds in which the minder, not the daemon, must be there."""


class MonitorSpec(msgspec.Struct, frozen=True):
    """What to run, and the folder for log, lock and state."""

    command: list[str]
    folder: str
    environment: dict[str, str] = {}


class MonitorState(msgspec.Struct, frozen=True):
    """What the minder knows. `daemon` is a pid; None while there is none."""

    state: Literal["starting", "ready", "stopping", "restarting", "stopped", "failed"]
    minder: int
    daemon: int | None = None
    restarts: int = 0
    detail: str | None = None


def spec_path(scope: Scope, environ: Mapping[str, str] = os.environ) -> Path:
    if scope == "system":
        return Path("/etc/edgeinfer/service.json")
    home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/root")) / ".config"
    return Path(home) / "edgeinfer/service.json"


def folder(scope: Scope, environ: Mapping[str, str] = os.environ) -> Path:
    if scope == "system":
        return Path("/var/lib/edgeinfer/daemon")
    home = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/root")) / ".local/state"
    return Path(home) / "edgeinfer"


def spec(service: ServiceSpec, environ: Mapping[str, str] = os.environ) -> MonitorSpec:
    variables = {name: environ[name] for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME") if name in environ}
    if service.config:
        variables["EDGEINFER_CONFIG"] = str(service.config)
    command = [str(service.program.executable), "serve"]
    return MonitorSpec(command, str(folder(service.scope, environ)), variables)


class MonitorFolder:
    """A minder's folder, seen from outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self.state = path / "state.json"
        self._lock = path / "lock"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self, patience: float = 1.0) -> Iterator[bool]:
        """Whether this process is the one minder now. `patience` is for those that only look."""
        deadline = time.monotonic() + patience
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not (alone := _lock(descriptor, fcntl.LOCK_EX)) and time.monotonic() < deadline:
                time.sleep(POLL)
            yield alone
        finally:
            os.close(descriptor)

    def is_minded(self) -> bool:
        """Whether a minder is at work."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def read(self) -> MonitorState | None:
        """What the minder last wrote, None if nothing."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=MonitorState)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def forget(self) -> None:
        self.state.unlink(missing_ok=True)

    def wait_until_ready(self) -> None:
        """Raises ServiceFailed with the log's end where it does not come to that. Call `forget` first."""
        came_up = time.monotonic() + COME_UP
        while True:
            found = self.read()
            if found and found.state == "ready":
                return
            if found and found.state != "starting":
                raise self.failure(found.detail)
            if not self.is_minded() and (found or time.monotonic() > came_up):
                raise self.failure("its minder is gone")
            time.sleep(POLL)

    def failure(self, detail: str | None) -> ServiceFailed:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            lines = []
        message = f"edgeinfer did not start ({detail}); its log ends with:"
        return ServiceFailed(
            message + "".join(f"\n  {line}" for line in lines), hint="the whole log: edgeinfer logs"
        )


def words(status: int) -> str:
    """An exit status, that of a signal negative."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}" + (f": {FINAL[status]}" if status in FINAL else "")


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
