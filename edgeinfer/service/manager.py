"""What edgeinfer asks of a service manager, whichever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edgeinfer.errors import ServiceFailed
from edgeinfer.service.command import Command
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.spec import Scope, ServiceSpec

ServiceState = Literal["running", "starting", "stopping", "waiting", "stopped", "failed"]
"""waiting: for the first request."""


class ServiceStatus(msgspec.Struct, frozen=True):
    """What the service manager knows. What the daemon does is asked of the daemon.

    Attributes:
        enabled: it comes back after a reboot. None where the manager has no say in that.
        pid: the daemon's.
        restarts: since it was last started by hand.
        detail: the manager's or the daemon's own word on its state.
    """

    manager: str
    scope: Scope
    installed: bool
    state: ServiceState
    enabled: bool | None = None
    on_demand: bool = False
    pid: int | None = None
    restarts: int | None = None
    detail: str | None = None


def not_installed() -> ServiceFailed:
    return ServiceFailed("edgeinfer is not installed as a service", hint="edgeinfer service install")


class ServiceManager(Protocol):
    """One scope of one service manager.

    Whatever does not work raises ServiceFailed; `start`, `restart` and `apply` return once the model answers.
    """

    name: str
    scope: Scope

    def check(self) -> None:
        """Whether it can be reached, and may be told what to do."""
        ...

    def files(self, service: ServiceSpec) -> list[ServiceFile]:
        """All files that `service` consists of."""
        ...

    def paths(self) -> list[Path]:
        """Every file that may be one of a service's."""
        ...

    def commands(self, service: ServiceSpec, *, start: bool) -> list[Command]:
        """What is to be run once the files are in place, for people to read."""
        ...

    def apply(self, service: ServiceSpec, *, start: bool) -> None:
        """Take over what the files say, and (re)start."""
        ...

    def withdraw(self) -> None:
        """Stop and disable, before the files are removed."""
        ...

    def forget(self) -> None:
        """Take notice of files that were removed or put back."""
        ...

    def resume(self, before: ServiceStatus) -> None:
        """Once its files are put back: let the service be what it was."""
        ...

    def notes(self, service: ServiceSpec) -> list[str]:
        """What the user should know or do."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def restart(self) -> None: ...

    def reload(self) -> None: ...

    def enable(self, wanted: bool) -> None:
        """Whether it comes back after a reboot."""
        ...

    def status(self) -> ServiceStatus: ...

    def log(self, lines: int, *, follow: bool) -> Command:
        """The command that shows the log's end."""
        ...
