"""Where settings, keys, responses and models are on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgeinfer import settings
from edgeinfer.daemon_record import record_folders
from edgeinfer.server.auth.key_file import default_path, key_file
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store

FOLDERS = ("own", "system")
"""Names of the folders of responses: this user's, and, for root, the system service's."""


class DaemonFiles(msgspec.Struct, frozen=True):
    """The files and folders of a daemon; they need not exist.

    Attributes:
        keys: None if the settings say that there are no keys.
        responses: the folder of each kind in FOLDERS.
    """

    config: Path
    keys: Path | None
    responses: dict[str, Path]
    store: Store


def daemon_files(config: Path, loaded: Settings, environ: Mapping[str, str] = os.environ) -> DaemonFiles:
    """Return where everything is with these settings, which are in the file `config`."""
    keys = key_file(loaded, environ)
    if keys is None and loaded.api_key_file is None:
        keys = str(default_path(environ))
    folders = [folder.with_name("responses") for folder in record_folders(environ)]
    return DaemonFiles(
        config,
        Path(keys) if keys else None,
        dict(zip(FOLDERS, folders, strict=False)),
        Store.of(loaded),
    )


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration file in use, or the one that a new one would be."""
    if named := environ.get(settings.ENV_PREFIX + "CONFIG"):
        return Path(named)
    if os.geteuid() == 0 and not environ.get("XDG_CONFIG_HOME"):
        return settings.config_path(environ) or settings.SYSTEM_CONFIG
    return settings.config_path(environ) or settings.user_config(environ)
