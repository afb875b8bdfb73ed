"""Finds the directory that models are stored in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.user_folders import data_folder, expanded_path

SYSTEM_STORE = Path("/var/lib/edgeinfer")
DAEMON_STATE = SYSTEM_STORE / "daemon"
"""State of the system service, which may only read the store itself."""


def store_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return $EDGEINFER_STORE, else /var/lib/edgeinfer for root and the system service, else
    $XDG_DATA_HOME/edgeinfer.
    """
    if configured := environ.get("EDGEINFER_STORE"):
        return absolute_path(configured)
    state = environ.get("STATE_DIRECTORY", "").split(":")  # set by systemd; a user's service has one too
    if os.geteuid() == 0 or str(SYSTEM_STORE) in state:
        return SYSTEM_STORE
    return data_folder(environ)


def absolute_path(path: str) -> Path:
    """Make a path absolute without following symbolic links. Raises EdgeinferError for the home of nobody."""
    return Path(os.path.abspath(expanded_path(path)))  # noqa: PTH100  # resolve() would follow links
