"""The service without a service manager: a minder that goes on when the terminal is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgeinfer.errors import ServiceFailed
from edgeinfer.service import monitor_state as minding
from edgeinfer.service.command import Command, run
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.manager import ServiceState, ServiceStatus, not_installed
from edgeinfer.service.monitor_state import POLL, MonitorFolder
from edgeinfer.service.spec import Scope, ServiceSpec, this_program

STATES: dict[str, ServiceState] = {
    "starting": "starting",
    "restarting": "starting",
    "ready": "running",
    "stopping": "stopping",
}
"""Of a minder's, while there is one."""


class BuiltinManager:
    name = "none"

    def __init__(self, scope: Scope, environ: Mapping[str, str] = os.environ) -> None:
        self.scope: Scope = scope
        self._environ = dict(environ)
        self.folder = MonitorFolder(minding.folder(scope, environ))
        self.spec = minding.spec_path(scope, environ)

    def check(self) -> None:
        if self.scope == "system" and os.geteuid() != 0:
            raise ServiceFailed("a service of the machine is root's", hint="try it with sudo, or with --user")

    def files(self, service: ServiceSpec) -> list[ServiceFile]:
        if service.on_demand:
            raise ServiceFailed("without a service manager nothing starts it on demand")
        text = msgspec.json.format(msgspec.json.encode(minding.spec(service, self._environ))).decode() + "\n"
        return [ServiceFile(self.spec, text)]

    def paths(self) -> list[Path]:
        return [self.spec]

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
        notes = [f"nothing starts it after a reboot here; cron can: @reboot {again}"]
        if self.scope == "system":
            notes.append("without a service manager it runs as root; --user is for other users")
        return notes

    def start(self) -> None:
        self._start(this_program().python)

    def _start(self, python: Path) -> None:
        if not self.spec.exists():
            raise not_installed()
        if self.folder.is_minded():
            return
        self.folder.forget()
        run(self._command(python), self._environ)
        self.folder.wait_until_ready()

    def _command(self, python: Path) -> Command:
        return [str(python), "-m", "edgeinfer.service.monitor", "--detach", str(self.spec)]

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        while self.folder.is_minded():  # the minder sees to it that this ends
            time.sleep(POLL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        if not self._signal(signal.SIGHUP):
            raise ServiceFailed("edgeinfer is not running", hint="edgeinfer service start")

    def enable(self, wanted: bool) -> None:
        if wanted:
            raise ServiceFailed("there is no service manager that would start it after a reboot")

    def status(self) -> ServiceStatus:
        found = self.folder.read()
        alive = self.folder.is_minded()
        last: ServiceState = "failed" if found and found.state == "failed" else "stopped"
        return ServiceStatus(
            manager=self.name,
            scope=self.scope,
            installed=self.spec.exists(),
            state=STATES.get(found.state, "starting") if found and alive else last,
            pid=found.daemon if found and alive else None,
            restarts=found.restarts if found and alive else None,
            detail=found.detail if found else None,
        )

    def log(self, lines: int, *, follow: bool) -> Command:
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), str(self.folder.log)]

    def _signal(self, number: signal.Signals) -> bool:
        """Whether there is a minder to send it to."""
        found = self.folder.read() if self.folder.is_minded() else None
        if found is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.minder, number)
        return True
