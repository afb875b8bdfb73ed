"""Whether the system service's user can read what the service needs."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.service.sandbox import HOMES, TEMPORARY, read_by
from edgeinfer.service.spec import ServiceSpec
from edgeinfer.service.units import USER

OURS = (Path("/etc/edgeinfer"), Path("/var/lib/edgeinfer"))
"""What lies in here is there for the service."""

KEYS = OURS[1] / "keys"
"""API keys, where no setting names another file."""

READ, SEARCH = 0o4, 0o1
"""The bits of a mode."""


def secrets(service: ServiceSpec) -> list[Path]:
    """Files of keys in the service's own folders, which shall be its user's and nobody else's to read."""
    return [path for path in _secret(service) if any(map(path.is_relative_to, OURS)) and path.is_file()]


def unreadable(service: ServiceSpec) -> list[str]:
    """What the service's user can't read and why not, each with a remedy."""
    secret, ours = list(_secret(service)), secrets(service)
    found = []
    for path in read_by(service):
        if path not in ours and (obstacle := _obstacle(path)):
            remedy = f"chown {USER}" if path in secret else "chmod -R a+rX" if path.is_dir() else "chmod a+r"
            if obstacle != path:
                remedy = "chmod a+x"
            found.append(f"the user {USER} can't read {path}: sudo {remedy} {obstacle}")
    return found


def _secret(service: ServiceSpec) -> Iterator[Path]:
    settings = service.settings
    for name in (settings.api_key_file or str(KEYS), settings.tls_key):
        if name:
            yield Path(name).absolute()


def _obstacle(path: Path) -> Path | None:
    """What keeps the user out: the path itself, or a folder on the way that the sandbox doesn't replace."""
    path = path.resolve()
    replaced = any(path.is_relative_to(folder) for folder in HOMES + TEMPORARY)
    way = [] if replaced else [*path.parents][::-1]
    for part in (*way, path):
        try:
            status = part.stat()
        except OSError:
            return None  # it isn't there, which is another matter
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
    except KeyError:  # it comes with the installation
        return None
