"""Runs the service under systemd: the system manager, or a user's."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from edgeinfer.errors import ServiceFailed
from edgeinfer.service import units
from edgeinfer.service.access_check import access_problems, secret_files
from edgeinfer.service.command import Command, attempt, failure, run
from edgeinfer.service.devices import HostDevices, this_host
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.manager import ServiceState, ServiceStatus, not_installed
from edgeinfer.service.monitor_state import exit_status_text
from edgeinfer.service.shell_command import command_files, command_notes, command_paths
from edgeinfer.service.spec import Scope, ServiceSpec
from edgeinfer.user_folders import home

SERVICE = "edgeinfer.service"
SOCKET = "edgeinfer.socket"
BOOTED = Path("/run/systemd/system")
LINGER = Path("/var/lib/systemd/linger")
ENABLE_LINGER = ["loginctl", "--no-ask-password", "enable-linger"]
LINGER_STEP = "to run it always: sudo loginctl enable-linger {}"
OWNER = f"{units.USER}:{units.USER}"
LOG_LINES = 12
"""Lines of the log that the error of a failed start shows."""

STATES: dict[str, ServiceState] = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "inactive": "stopped",
    "failed": "failed",
}
PROPERTIES = "LoadState,ActiveState,SubState,MainPID,NRestarts,Result,ExecMainStatus,StatusText,UnitFileState"


class SystemdManager:
    """systemd's services of the system or of one user."""

    name = "systemd"

    def __init__(self, scope: Scope, environ: Mapping[str, str] = os.environ) -> None:
        self.scope: Scope = scope
        self._environ = dict(environ)
        self._systemctl = ["systemctl"]
        if scope == "user":
            self._systemctl.append("--user")
            self._environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")

    def files(self, service: ServiceSpec) -> list[ServiceFile]:
        files = units.files(service, self.host(), self._environ, self._folder)
        return [*files, *command_files(service, self._environ)]

    def paths(self) -> list[Path]:
        files = units.paths(self.scope, self._environ, self._folder)
        return [*files, *command_paths(self.scope, self._environ)]

    def host(self) -> HostDevices:
        return this_host(self._version())

    def commands(self, service: ServiceSpec, *, start: bool) -> list[Command]:
        wanted, other = (SOCKET, SERVICE) if service.on_demand else (SERVICE, SOCKET)
        commands = []
        if self.scope == "system":
            commands.append(["systemd-sysusers", str(units.SYSUSERS)])
            commands.append(["systemd-tmpfiles", "--create", str(units.TMPFILES)])
            commands += [["chown", "--no-dereference", OWNER, str(path)] for path in secret_files(service)]
        elif not _lingers():
            commands.append([*ENABLE_LINGER, _login()])
        commands.append([*self._systemctl, "daemon-reload"])
        if self._is_there(other):
            commands.append([*self._systemctl, "disable", "--now", other])
        commands.append([*self._systemctl, "enable", wanted])
        if start:
            commands.append([*self._systemctl, "reset-failed", wanted])
            commands.append([*self._systemctl, "restart", wanted])
        return commands

    def apply(self, service: ServiceSpec, *, start: bool) -> None:
        for command in self.commands(service, start=start):
            if "reset-failed" in command or command[: len(ENABLE_LINGER)] == ENABLE_LINGER:
                self._attempt(command)  # nothing to reset; not every machine lets users linger
            elif "restart" in command:
                self._bring_up(command)
            else:
                self._run(command)

    def check(self) -> None:
        if self.scope == "system" and os.geteuid() != 0:
            raise ServiceFailed("only root can install a system service", hint="use sudo, or --user")
        if self.scope == "user" and not Path(self._environ["XDG_RUNTIME_DIR"], "systemd/private").exists():
            name = _login()
            raise ServiceFailed(
                f"the service manager of {name} is not running",
                hint=f"log in as {name} (not with su), or: sudo loginctl enable-linger {name}",
            )

    def withdraw(self) -> None:
        for unit in (SOCKET, SERVICE):
            if self._is_there(unit):
                self._attempt([*self._systemctl, "disable", "--now", unit])

    def forget(self) -> None:
        self._run([*self._systemctl, "daemon-reload"])
        self._attempt([*self._systemctl, "reset-failed", SERVICE, SOCKET])

    def resume(self, before: ServiceStatus) -> None:
        if before.enabled:
            self.enable(True)
        if before.on_demand and before.state in ("running", "starting", "waiting"):
            self._run([*self._systemctl, "start", SOCKET])
        if before.state in ("running", "starting"):
            self._run([*self._systemctl, "start", SERVICE])

    def notes(self, service: ServiceSpec) -> list[str]:
        notes = command_notes(service, self._environ)
        if self.scope == "system":
            return [*access_problems(service), *notes]
        if not _lingers():
            notes.insert(0, f"it runs while {_login()} is logged in; {LINGER_STEP.format(_login())}")
        return notes

    def start(self) -> None:
        self._bring_up([*self._systemctl, "start", self._units()[0]])

    def stop(self) -> None:
        self._run([*self._systemctl, "stop", *self._units()])

    def restart(self) -> None:
        self._bring_up([*self._systemctl, "restart", self._units()[-1]])

    def reload(self) -> None:
        command, since = [*self._systemctl, "reload", self._units()[-1]], time.time()
        done = self._attempt(command)
        if done.returncode == 0:
            return
        error = failure(command, done)
        if error.hint:  # this user may not
            raise error
        raise ServiceFailed(
            f"the reload failed, and edgeinfer serves as before; its log ends with:{self._log_since(since)}",
            hint="the whole log: edgeinfer logs",
        )

    def enable(self, wanted: bool) -> None:
        self._run([*self._systemctl, "enable" if wanted else "disable", self._units()[0]])

    def status(self) -> ServiceStatus:
        service, socket = self._show(SERVICE), self._show(SOCKET)
        on_demand = socket.get("LoadState") == "loaded" and service.get("UnitFileState") != "enabled"
        state = STATES.get(service.get("ActiveState", ""), "stopped")
        if state == "stopped" and socket.get("ActiveState") == "active":
            state = "waiting"
        enabled = (socket if on_demand else service).get("UnitFileState", "")
        return ServiceStatus(
            manager=self.name,
            scope=self.scope,
            installed=service.get("LoadState") == "loaded",
            state=state,
            enabled=enabled.startswith("enabled") if enabled else None,
            on_demand=on_demand,
            while_logged_in=self.scope == "user" and not _lingers(),
            pid=int(service.get("MainPID", "0")) or None,
            restarts=int(service.get("NRestarts", "0")),
            detail=_detail(service),
        )

    def log(self, lines: int, *, follow: bool) -> Command:
        unit = ["--user-unit" if self.scope == "user" else "--unit", SERVICE]
        return ["journalctl", *unit, "--lines", str(lines), *(["--follow"] if follow else ["--no-pager"])]

    @cached_property
    def _folder(self) -> Path:
        """Folder of the manager's units. A user's manager has its own variables, not those of this shell."""
        lines = self._attempt([*self._systemctl, "show-environment"]).stdout.splitlines()
        config_home = dict(line.partition("=")[::2] for line in lines if line.startswith("XDG_CONFIG_HOME="))
        return units.unit_folder(self.scope, {"HOME": str(home(self._environ)), **config_home})

    def _units(self) -> list[str]:
        """Return the units of the service, the one that starts it first.

        Raises:
            ServiceFailed: it is not installed.
        """
        status = self.status()
        if not status.installed:
            raise not_installed()
        return [SOCKET, SERVICE] if status.on_demand else [SERVICE]

    def _is_there(self, unit: str) -> bool:
        return self._show(unit).get("LoadState") == "loaded"

    def _bring_up(self, command: Command) -> None:
        """Start the service.

        Raises:
            ServiceFailed: the message has the reason and the end of the log.
        """
        since = time.time()
        done = self._attempt(command)
        if done.returncode == 0:
            return
        properties = self._show(SERVICE)
        if properties.get("Result", "success") == "success":  # not the daemon failed, but the command
            raise failure(command, done)
        raise ServiceFailed(
            f"edgeinfer did not start ({_detail(properties)}); its log ends with:{self._log_since(since)}",
            hint="the whole log: edgeinfer logs",
        )

    def _log_since(self, since: float) -> str:
        log = self._run([*self.log(LOG_LINES, follow=False), "--output=cat", f"--since=@{since:.0f}"])
        return "".join(f"\n  {line}" for line in log.splitlines())

    def _show(self, unit: str) -> dict[str, str]:
        done = self._attempt([*self._systemctl, "show", f"--property={PROPERTIES}", unit])
        return dict(line.partition("=")[::2] for line in done.stdout.splitlines())

    def _version(self) -> int | None:
        match = re.match(r"systemd (\d+)", self._attempt(["systemctl", "--version"]).stdout)
        return int(match[1]) if match else None

    def _run(self, command: Command) -> str:
        return run(command, self._environ)

    def _attempt(self, command: Command) -> subprocess.CompletedProcess[str]:
        return attempt(command, self._environ)


def _login() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _lingers() -> bool:
    """Tell whether this user's services run without a login."""
    return (LINGER / _login()).exists()


def _detail(properties: Mapping[str, str]) -> str | None:
    """Return why it failed, else the daemon's own status."""
    result = properties.get("Result", "success")
    if result == "success":
        return properties.get("StatusText") or None
    return exit_status_text(int(properties.get("ExecMainStatus", "0"))) if result == "exit-code" else result
