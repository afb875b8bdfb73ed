"""Permissions of models, settings and keys."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeinfer.doctor.finding import Finding
from edgeinfer.service.access_check import access_problems, secret_files
from edgeinfer.service.spec import ServiceSpec
from edgeinfer.service.units import USER

CHECK = "permissions"

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_permissions(
    trusted: Iterable[Path], secret: Iterable[Path], service: ServiceSpec | None
) -> list[Finding]:
    """Check who can change `trusted` files and read `secret` ones, and what the system's service can read."""
    findings = [*_writable(trusted), *_readable(secret)]
    if service:
        findings += _for_service(service)
    return findings or [
        Finding(CHECK, "ok", "other users can neither change models and settings nor read keys")
    ]


def _writable(paths: Iterable[Path]) -> Iterator[Finding]:
    for path in paths:
        status = _stat(path)
        if status and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            text = f"any user can change {path}"
            yield Finding(CHECK, "error", text, _chmod("o-w", path, status))


def _readable(paths: Iterable[Path]) -> Iterator[Finding]:
    for path in paths:
        status = _stat(path)
        if status and status.st_mode & OTHERS:
            text = f"other users can read the keys in {path}"
            yield Finding(CHECK, "warning", text, _chmod("600", path, status))


def _for_service(service: ServiceSpec) -> Iterator[Finding]:
    """Yield the files that the service's user cannot read."""
    for obstacle in access_problems(service):
        text, _, fix = obstacle.partition(": ")
        yield Finding(CHECK, "error", text, fix)
    for path in secret_files(service):
        status, user = _stat(path), _uid(USER)
        if status and user is not None and status.st_uid != user:
            fix = f"sudo chown {USER}: {shlex.quote(str(path))}"
            yield Finding(CHECK, "error", f"the user {USER} does not own {path}, so it cannot read it", fix)


def _chmod(mode: str, path: Path, status: os.stat_result) -> str:
    sudo = "" if os.geteuid() in (0, status.st_uid) else "sudo "
    return f"{sudo}chmod {mode} {shlex.quote(str(path))}"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # missing, or not visible to this user
        return None


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
