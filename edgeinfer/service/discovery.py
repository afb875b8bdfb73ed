"""Finds the service manager of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.errors import ServiceFailed
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
        if _exists(manager):
            return manager
    return manager_for(default, environ)


def check_default_scope(environ: Mapping[str, str] = os.environ) -> None:
    """Check that there is no service of another scope, beside which a second one would want the same port.

    Raises:
        ServiceFailed: there is one; the hint says how to change that one.
    """
    if default_scope() == "user":
        if sys.platform != "darwin" and _exists(manager_for("system", environ)):
            raise ServiceFailed(
                "edgeinfer is a service of the whole machine already",
                hint="to change that one: use sudo; for one of your own beside it: --user, and another port",
            )
    elif (name := environ.get("SUDO_USER")) and (home := _home(name)):
        theirs = manager_for("user", {**environ, "HOME": home, "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""})
        if _exists(theirs):
            raise ServiceFailed(
                f"{name} has edgeinfer as a service already",
                hint="to change that one: leave out sudo; to have both: --system, and another port",
            )


def _exists(manager: ServiceManager) -> bool:
    return any(path.exists() for path in manager.paths())


def _home(name: str) -> str | None:
    try:
        return pwd.getpwnam(name).pw_dir
    except KeyError:
        return None
