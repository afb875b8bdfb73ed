"""Files through which the process monitor is told what to run, and tells what it does."""

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
from edgeinfer.user_folders import config_folder, state_folder

if TYPE_CHECKING:  # the monitor runs all the time, and needs no plan
    from edgeinfer.service.spec import Scope, ServiceSpec

FOREIGN_VARIABLES = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "JOURNAL_STREAM",
)
"""Variables of another service manager, which the daemon must not take for the monitor's."""

FINAL_STATUSES = {2: "its settings are wrong", 3: "its model is missing or cannot be loaded"}
"""Exit statuses after which another start of the daemon would fail again."""

LOG_LINES = 12
"""Lines of the log that the error of a failed start shows."""

POLL = 0.1
MONITOR_TIMEOUT = 30.0
"""Seconds in which the monitor, not the daemon, must be running."""


class MonitorSpec(msgspec.Struct, frozen=True):
    """The command to run, and the folder for log, lock and state."""

    command: list[str]
    folder: str
    environment: dict[str, str] = {}


Phase = Literal["starting", "ready", "stopping", "restarting", "stopped", "failed"]


class MonitorState(msgspec.Struct, frozen=True):
    """State of the daemon as its monitor sees it.

    Attributes:
        monitor: process id of the monitor. In the file it has its earlier name, by which an upgrade finds the
            monitor that it replaces.
        daemon: process id of the daemon; None while there is none.
    """

    state: Phase
    monitor: int = msgspec.field(name="minder")
    daemon: int | None = None
    restarts: int = 0
    detail: str | None = None


def spec_path(scope: Scope, environ: Mapping[str, str] = os.environ) -> Path:
    if scope == "system":
        return Path("/etc/edgeinfer/service.json")
    return config_folder(environ) / "service.json"


def folder_path(scope: Scope, environ: Mapping[str, str] = os.environ) -> Path:
    if scope == "system":
        return Path("/var/lib/edgeinfer/daemon")
    return state_folder(environ)


def monitor_spec(service: ServiceSpec, environ: Mapping[str, str] = os.environ) -> MonitorSpec:
    homes = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    variables = {name: environ[name] for name in homes if name in environ}
    if service.config:
        variables["EDGEINFER_CONFIG"] = str(service.config)
    command = [str(service.program.executable), "serve"]
    return MonitorSpec(command, str(folder_path(service.scope, environ)), variables)


class MonitorFolder:
    """A monitor's folder, as other processes see it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self.state = path / "state.json"
        self._lock = path / "lock"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self, timeout: float = 1.0) -> Iterator[bool]:
        """Yield True if this process now holds the lock of the only monitor.

        The timeout leaves time to processes that only look whether it is held.
        """
        deadline = time.monotonic() + timeout
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not (held := _lock(descriptor, fcntl.LOCK_EX)) and time.monotonic() < deadline:
                time.sleep(POLL)
            yield held
        finally:
            os.close(descriptor)

    def is_monitored(self) -> bool:
        """Tell whether a monitor is running."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def read(self) -> MonitorState | None:
        """Return what the monitor wrote last; None if nothing."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=MonitorState)
        except (OSError, ValueError, RecursionError):
            return None

    def clear(self) -> None:
        """Remove the state of an earlier monitor."""
        self.state.unlink(missing_ok=True)

    def wait_until_ready(self) -> None:
        """Wait until the daemon is ready; call `clear` before it is started.

        Raises:
            ServiceFailed: it does not become ready; the message has the end of the log.
        """
        deadline = time.monotonic() + MONITOR_TIMEOUT
        while True:
            status = self.read()
            if status and status.state == "ready":
                return
            if status and status.state != "starting":
                raise self.failure(status.detail)
            if not self.is_monitored() and (status or time.monotonic() > deadline):
                raise self.failure("its process monitor has ended")
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


def exit_status_text(status: int) -> str:
    """Describe an exit status; that of a signal is negative."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}" + (f": {FINAL_STATUSES[status]}" if status in FINAL_STATUSES else "")


def _lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
