"""Runs the service under macOS's launchd.

launchd starts a process monitor, as it cannot detect a daemon that hangs, or tell exit statuses apart.
"""

from __future__ import annotations

import os
import plistlib
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgeinfer.errors import ServiceFailed
from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.command import Command, attempt, run
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.manager import ServiceStatus, not_installed
from edgeinfer.service.shell_command import command_notes
from edgeinfer.service.spec import Scope, ServiceSpec
from edgeinfer.user_folders import home

LABEL = "edgeinfer"

THROTTLE = 10
"""Seconds between two starts of a monitor that died. The monitor itself restarts the daemon."""

STOP_MARGIN = 30
"""Seconds beyond drain_timeout that a stop may take."""


class LaunchdManager(BuiltinManager):
    """launchd's agents of one user. A system service would need a user of its own, which is not created here."""

    name = "launchd"

    def __init__(self, scope: Scope, environ: Mapping[str, str] = os.environ) -> None:
        """Raise ServiceFailed if the scope is the system."""
        if scope == "system":
            raise ServiceFailed(
                "on macOS edgeinfer runs only as a user's service", hint="leave out sudo and --system"
            )
        super().__init__(scope, environ)
        self.plist = Path(home(environ), "Library/LaunchAgents", f"{LABEL}.plist")
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"

    def files(self, service: ServiceSpec) -> list[ServiceFile]:
        log = self.folder.path / "monitor.log"
        return [
            *super().files(service),
            ServiceFile(self.plist, property_list(service, self.spec, log)),
        ]

    def paths(self) -> list[Path]:
        return [*super().paths(), self.plist]

    def commands(self, service: ServiceSpec, *, start: bool) -> list[Command]:  # noqa: ARG002
        commands = [["launchctl", "enable", self._target]]
        return [*commands, self._load()] if start else commands

    def apply(self, service: ServiceSpec, *, start: bool) -> None:
        self.stop()
        self.folder.make()
        self.folder.clear()
        for command in self.commands(service, start=start):
            run(command, self._environ)
        if start:
            self.folder.wait_until_ready()

    def notes(self, service: ServiceSpec) -> list[str]:
        return command_notes(service, self._environ)

    def start(self) -> None:
        if not self.plist.exists():
            raise not_installed()
        if not self.folder.is_monitored():
            self.folder.clear()
            self._unload()
            run(self._load(), self._environ)
            self.folder.wait_until_ready()

    def stop(self) -> None:
        """Stop and unload it; otherwise launchd would start it again."""
        self._signal(signal.SIGTERM)
        self._unload()
        super().stop()

    def enable(self, wanted: bool) -> None:
        run(["launchctl", "enable" if wanted else "disable", self._target], self._environ)

    def status(self) -> ServiceStatus:
        status, installed = super().status(), self.plist.exists()
        listed = attempt(["launchctl", "print-disabled", self._domain], self._environ).stdout
        disabled = re.search(rf'"{LABEL}" => (disabled|true)', listed)
        return msgspec.structs.replace(
            status, installed=installed, enabled=installed and disabled is None, while_logged_in=True
        )

    def _load(self) -> Command:
        return ["launchctl", "bootstrap", self._domain, str(self.plist)]

    def _unload(self) -> None:
        attempt(["launchctl", "bootout", self._target], self._environ)  # it may not be loaded


def property_list(service: ServiceSpec, spec: Path, log: Path) -> str:
    """Return launchd's description of the monitor."""
    content = {
        "Label": LABEL,
        "ProgramArguments": [str(service.program.python), "-m", "edgeinfer.service.monitor", str(spec)],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": THROTTLE,
        "ExitTimeOut": round(service.settings.drain_timeout) + STOP_MARGIN,
        "ProcessType": "Interactive",  # otherwise macOS throttles it as background work
        "Umask": 0o077,
        "WorkingDirectory": "/",
        "StandardErrorPath": str(log),
    }
    return plistlib.dumps(content).decode()
