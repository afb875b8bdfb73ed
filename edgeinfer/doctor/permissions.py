"""Who can read and change what: models, settings, keys."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.service.access_check import secrets, unreadable
from edgeinfer.service.spec import ServiceSpec
from edgeinfer.service.units import USER

CHECK = "permissions"

STRANGERS = stat.S_IRWXG | stat.S_IRWXO


def permissions(
    trusted: Iterable[Path], secret: Iterable[Path], service: ServiceSpec | None
) -> list[Finding]:
    """`trusted`: what decides what runs and what is answered. `secret`: files of keys. `service`: the system's."""
    found = [*_writable(trusted), *_legible(secret)]
    if service:
        found += _for_service(service)
    return found or [Finding(CHECK, "ok", "models and settings are safe from others, keys are secret")]


def _writable(paths: Iterable[Path]) -> Iterator[Finding]:
    for path in paths:
        status = _stat(path)
        if status and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            text = f"everybody can change {path}"
            yield Finding(CHECK, "error", text, _chmod("o-w", path, status))


def _legible(paths: Iterable[Path]) -> Iterator[Finding]:
    for path in paths:
        status = _stat(path)
        if status and status.st_mode & STRANGERS:
            text = f"other users can read the keys in {path}"
            yield Finding(CHECK, "warning", text, _chmod("600", path, status))


def _for_service(service: ServiceSpec) -> Iterator[Finding]:
    """Whether its user can read what it needs."""
    for obstacle in unreadable(service):
        text, _, fix = obstacle.partition(": ")
        yield Finding(CHECK, "error", text, fix)
    for path in secrets(service):
        status, user = _stat(path), _uid(USER)
        if status and user is not None and status.st_uid != user:
            fix = f"sudo chown {USER}: {shlex.quote(str(path))}"
            yield Finding(CHECK, "error", f"the user {USER} does not own {path}, so it can't read it", fix)


def _chmod(mode: str, path: Path, status: os.stat_result) -> str:
    sudo = "" if os.geteuid() in (0, status.st_uid) else "sudo "
    return f"{sudo}chmod {mode} {shlex.quote(str(path))}"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # it is not there, or not for us to see
        return None


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
