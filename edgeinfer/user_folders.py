"""The user's folders, as the XDG base directory specification names them.

https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.errors import EdgeinferError

NAME = "edgeinfer"


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's home directory: HOME, or else the one in the user database.

    HOME is not used if it may not be entered. It is then another user's, as `sudo -u` and `setpriv` may leave it.
    """
    path = Path(environ.get("HOME") or ".")
    if path.is_absolute() and (os.access(path, os.X_OK) or not os.path.lexists(path)):
        return path
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # an id without a user, as containers have
        return path if path.is_absolute() else Path("/")


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's configuration files."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config")


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what the user has installed."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share")


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what a program remembers between two starts."""
    return _folder(environ, "XDG_STATE_HOME", ".local/state")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what can be made again."""
    return _folder(environ, "XDG_CACHE_HOME", ".cache")


def daemon_cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what a daemon can make again: systemd's, where that started it, else the user's."""
    service = Path(environ.get("CACHE_DIRECTORY", "").partition(":")[0])
    return service if service.is_absolute() else cache_folder(environ)


def _folder(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """The specification has a relative path ignored."""
    path = Path(environ.get(variable) or ".")
    return (path if path.is_absolute() else home(environ) / default) / NAME


def expanded_path(path: str | Path) -> Path:
    """Return a path with `~` and `~USER` replaced by that user's home.

    Raises:
        EdgeinferError: there is no such user. A folder called `~USER` is never meant.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as e:
        user = Path(path).parts[0]
        raise EdgeinferError(
            f"{path}: there is no user {user[1:]!r}", hint=f"for a file or folder of that name: ./{path}"
        ) from e


def is_file(path: Path) -> bool:
    """Tell if a file is there; one in a folder that may not be entered is not.

    `Path.is_file` raises PermissionError there before Python 3.14.
    """
    return os.path.isfile(path)  # noqa: PTH113
