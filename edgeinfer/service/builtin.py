"""Runs the service where there is no service manager: a process monitor that outlives the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgeinfer.errors import ServiceFailed
from edgeinfer.service.command import Command, run
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.manager import ServiceState, ServiceStatus, not_installed
from edgeinfer.service.monitor_state import POLL, MonitorFolder, folder_path, monitor_spec, spec_path
from edgeinfer.service.shell_command import command_files, command_notes, command_paths
from edgeinfer.service.spec import Scope, ServiceSpec, this_program
from edgeinfer.user_folders import is_file

STATES: dict[str, ServiceState] = {
    "starting": "starting",
    "restarting": "starting",
    "ready": "running",
    "stopping": "stopping",
}
"""A running monitor's state -> the service's."""


class BuiltinManager:
    """The service manager for systems without one."""

    name = "none"

    def __init__(self, scope: Scope, environ: Mapping[str, str] = os.environ) -> None:
        self.scope: Scope = scope
        self._environ = dict(environ)
        self.folder = MonitorFolder(folder_path(scope, environ))
        self.spec = spec_path(scope, environ)

    def check(self) -> None:
        if self.scope == "system" and os.geteuid() != 0:
            raise ServiceFailed("only root can install a system service", hint="use sudo, or --user")

    def files(self, service: ServiceSpec) -> list[ServiceFile]:
        if service.on_demand:
            raise ServiceFailed("there is no service manager here that could start edgeinfer on demand")
        text = msgspec.json.format(msgspec.json.encode(monitor_spec(service, self._environ))).decode() + "\n"
        return [ServiceFile(self.spec, text), *command_files(service, self._environ)]

    def paths(self) -> list[Path]:
        return [self.spec, *command_paths(self.scope, self._environ)]

    def commands(self, service: ServiceSpec, *, start: bool) -> list[Command]:
        return [self._command(service.program.python)] if start else []

    def apply(self, service: ServiceSpec, *, start: bool) -> None:
        if start:
            self.stop()
            self._start(service.program.python)

    def withdraw(self) -> None:
        self.stop()

    def forget(self) -> None:
        pass

    def resume(self, before: ServiceStatus) -> None:
        if before.state in ("running", "starting"):
            self.start()

    def notes(self, service: ServiceSpec) -> list[str]:
        again = f"{service.program.executable} service start"
        notes = [f"nothing starts it after a reboot; add this to your crontab: @reboot {again}"]
        if self.scope == "system":
            notes.append("without a service manager it runs as root; use --user to run it as another user")
        return [*notes, *command_notes(service, self._environ)]

    def start(self) -> None:
        self._start(this_program().python)

    def _start(self, python: Path) -> None:
        if not self.spec.exists():
            raise not_installed()
        if self.folder.is_monitored():
            return
        self.folder.clear()
        run(self._command(python), self._environ)
        self.folder.wait_until_ready()

    def _command(self, python: Path) -> Command:
        return [str(python), "-m", "edgeinfer.service.monitor", "--detach", str(self.spec)]

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        while self.folder.is_monitored():  # the monitor sets a time limit
            time.sleep(POLL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        if not self._signal(signal.SIGHUP):
            raise ServiceFailed("edgeinfer is not running", hint="edgeinfer service start")

    def enable(self, wanted: bool) -> None:
        if wanted:
            raise ServiceFailed("there is no service manager here that could start edgeinfer after a reboot")

    def status(self) -> ServiceStatus:
        status = self.folder.read()
        running = status if status and self.folder.is_monitored() else None
        last: ServiceState = "failed" if status and status.state == "failed" else "stopped"
        return ServiceStatus(
            manager=self.name,
            scope=self.scope,
            installed=self.spec.exists(),
            state=STATES.get(running.state, "starting") if running else last,
            pid=running.daemon if running else None,
            restarts=running.restarts if running else None,
            detail=status.detail if status else None,
        )

    def log(self, lines: int, *, follow: bool) -> Command:
        if not is_file(self.folder.log) and not is_file(self.spec):
            raise not_installed()
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), str(self.folder.log)]

    def _signal(self, number: signal.Signals) -> bool:
        """Send a signal to the monitor; False if none is running."""
        status = self.folder.read() if self.folder.is_monitored() else None
        if status is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(status.monitor, number)
        return True
