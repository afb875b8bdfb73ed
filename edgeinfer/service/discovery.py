"""Which service manager this machine has."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.launchd import LaunchdManager
from edgeinfer.service.manager import ServiceManager
from edgeinfer.service.spec import Scope
from edgeinfer.service.systemd import BOOTED, SystemdManager


def manager(scope: Scope, environ: Mapping[str, str] = os.environ, booted: Path = BOOTED) -> ServiceManager:
    """systemd where it runs the machine, launchd on a Mac, else a minder of our own.

    Raises:
        ServiceFailed: it has no services of this scope.
    """
    if sys.platform == "darwin":
        return LaunchdManager(scope, environ)
    if booted.is_dir() and shutil.which("systemctl"):
        return SystemdManager(scope, environ)
    return BuiltinManager(scope, environ)


def default_scope() -> Scope:
    """The system for root, who can have it; not on a Mac, where nobody can."""
    return "system" if os.geteuid() == 0 and sys.platform != "darwin" else "user"


def installed(environ: Mapping[str, str] = os.environ) -> ServiceManager:
    """The manager of the service that is there: rather one's own than the system's. Else that of the default scope."""
    default = default_scope()
    others: tuple[Scope, ...] = () if sys.platform == "darwin" else ("user", "system")
    for scope in dict.fromkeys((default, *others)):
        found = manager(scope, environ)
        if any(path.exists() for path in found.paths()):
            return found
    return manager(default, environ)
