"""Checks that the system service's user can read what the service needs."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.service.sandbox import HOMES, TEMPORARY, read_by
from edgeinfer.service.spec import ServiceSpec
from edgeinfer.service.units import USER

SERVICE_FOLDERS = (Path("/etc/edgeinfer"), Path("/var/lib/edgeinfer"))
"""Folders whose files belong to the service."""

KEYS = SERVICE_FOLDERS[1] / "keys"
"""API keys, unless the settings name another file."""

READ, SEARCH = 0o4, 0o1
"""Bits of a file mode."""


def secret_files(service: ServiceSpec) -> list[Path]:
    """Return the key files in the service's own folders, which only its user may read."""
    return [
        path
        for path in _secrets(service)
        if any(map(path.is_relative_to, SERVICE_FOLDERS)) and path.is_file()
    ]


def access_problems(service: ServiceSpec) -> list[str]:
    """Return a sentence, with a remedy, for each path that the service's user cannot read."""
    secrets, own = list(_secrets(service)), secret_files(service)
    problems = []
    for path in read_by(service):
        if path not in own and (obstacle := _obstacle(path)):
            remedy = f"chown {USER}" if path in secrets else "chmod -R a+rX" if path.is_dir() else "chmod a+r"
            if obstacle != path:
                remedy = "chmod a+x"
            problems.append(f"the user {USER} cannot read {path}: sudo {remedy} {obstacle}")
    return problems


def _secrets(service: ServiceSpec) -> Iterator[Path]:
    settings = service.settings
    for name in (
        settings.api_key_file or str(KEYS),
        settings.tls_key,
        settings.peer_key_file,
        settings.mcp_servers,
    ):
        if name:
            yield Path(name).absolute()


def _obstacle(path: Path) -> Path | None:
    """Return the path or the folder above it that the user may not access; None if there is none.

    Folders that the sandbox replaces do not count.
    """
    path = path.resolve()
    replaced = any(path.is_relative_to(folder) for folder in HOMES + TEMPORARY)
    parents = [] if replaced else [*path.parents][::-1]
    for part in (*parents, path):
        try:
            status = part.stat()
        except OSError:
            return None  # a missing file is reported elsewhere
        read = SEARCH | READ if stat.S_ISDIR(status.st_mode) else READ
        if not _may(status, read if part == path else SEARCH):
            return part
    return None


def _may(status: os.stat_result, wanted: int) -> bool:
    bits = status.st_mode >> 6 if status.st_uid == _uid() else status.st_mode
    return bits & wanted == wanted


def _uid() -> int | None:
    try:
        return pwd.getpwnam(USER).pw_uid
    except KeyError:  # the installation creates it
        return None
