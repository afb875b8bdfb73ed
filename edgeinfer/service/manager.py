"""The interface of service managers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgeinfer.errors import ServiceFailed
from edgeinfer.service.command import Command
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.spec import Scope, ServiceSpec

ServiceState = Literal["running", "starting", "stopping", "waiting", "stopped", "failed"]
"""Waiting means for the first request."""


class ServiceStatus(msgspec.Struct, frozen=True):
    """State of the service, as its manager knows it. The daemon itself knows more.

    Attributes:
        enabled: it starts again after a reboot; None if the manager does not control that.
        while_logged_in: it starts when its user logs in, and ends when the user has logged out.
        pid: process id of the daemon.
        restarts: restarts since it was last started by hand.
        detail: a description of the state by the manager or the daemon.
    """

    manager: str
    scope: Scope
    installed: bool
    state: ServiceState
    enabled: bool | None = None
    on_demand: bool = False
    while_logged_in: bool = False
    pid: int | None = None
    restarts: int | None = None
    detail: str | None = None


def not_installed() -> ServiceFailed:
    return ServiceFailed("edgeinfer is not installed as a service", hint="edgeinfer service install")


class ServiceManager(Protocol):
    """A service manager, for services of one scope.

    All methods raise ServiceFailed if they fail; `start`, `restart` and `apply` return once the model answers.
    """

    name: str
    scope: Scope

    def check(self) -> None:
        """Check that the manager can be reached, and that this user may control it."""
        ...

    def files(self, service: ServiceSpec) -> list[ServiceFile]:
        """Return all files of `service`."""
        ...

    def paths(self) -> list[Path]:
        """Return every file that a service may have."""
        ...

    def commands(self, service: ServiceSpec, *, start: bool) -> list[Command]:
        """Return the commands that `apply` runs, for display."""
        ...

    def apply(self, service: ServiceSpec, *, start: bool) -> None:
        """Apply the files after they were written, and start or restart the service if `start`."""
        ...

    def withdraw(self) -> None:
        """Stop and disable the service, before its files are removed."""
        ...

    def forget(self) -> None:
        """Reload after files were removed or restored."""
        ...

    def resume(self, before: ServiceStatus) -> None:
        """Return the service to an earlier state, after its files were restored."""
        ...

    def notes(self, service: ServiceSpec) -> list[str]:
        """Return what the user should know or do."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def restart(self) -> None: ...

    def reload(self) -> None: ...

    def enable(self, wanted: bool) -> None:
        """Set whether it starts after a reboot."""
        ...

    def status(self) -> ServiceStatus: ...

    def log(self, lines: int, *, follow: bool) -> Command:
        """Return the command that shows the end of the log."""
        ...
