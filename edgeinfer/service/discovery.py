"""Finds the service manager of this machine."""

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


def manager_for(
    scope: Scope, environ: Mapping[str, str] = os.environ, booted: Path = BOOTED
) -> ServiceManager:
    """Return systemd if it runs the machine, launchd on a Mac, else the built-in manager.

    Raises:
        ServiceFailed: it has no services of this scope.
    """
    if sys.platform == "darwin":
        return LaunchdManager(scope, environ)
    if booted.is_dir() and shutil.which("systemctl"):
        return SystemdManager(scope, environ)
    return BuiltinManager(scope, environ)


def default_scope() -> Scope:
    """Return the system for root, except on a Mac, which has no system service; else the user."""
    return "system" if os.geteuid() == 0 and sys.platform != "darwin" else "user"


def installed_manager(environ: Mapping[str, str] = os.environ) -> ServiceManager:
    """Return the manager of the installed service, the user's before the system's, else that of the default scope."""
    default = default_scope()
    others: tuple[Scope, ...] = () if sys.platform == "darwin" else ("user", "system")
    for scope in dict.fromkeys((default, *others)):
        manager = manager_for(scope, environ)
        if any(path.exists() for path in manager.paths()):
            return manager
    return manager_for(default, environ)
