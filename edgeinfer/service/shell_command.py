"""Puts `edgeinfer` on the PATH: a script that runs the installed program, in the place of no other program."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.spec import Scope, ServiceSpec
from edgeinfer.user_folders import home

SYSTEM_COMMAND = Path("/usr/local/bin/edgeinfer")
"""On the PATH of everybody, and on that of sudo."""

HEAD = "#!/bin/sh\n# Written by `edgeinfer service install`, removed by `edgeinfer service uninstall`.\n"
"""Begins every script that was written here; what begins otherwise belongs to another program."""


def command_path(scope: Scope, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a shell finds the command."""
    if scope == "system":
        return SYSTEM_COMMAND
    return home(environ) / ".local/bin/edgeinfer"


def command_files(service: ServiceSpec, environ: Mapping[str, str] = os.environ) -> list[ServiceFile]:
    """Return the script; nothing where the place is taken, by the program itself or by another one."""
    path = command_path(service.scope, environ)
    if is_taken(path):
        return []
    text = f'{HEAD}exec {shlex.quote(str(service.program.executable))} "$@"\n'
    return [ServiceFile(path, text, 0o755)]


def command_paths(scope: Scope, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the paths of scripts that an installation may have written."""
    path = command_path(scope, environ)
    return [] if is_taken(path) else [path]


def command_notes(service: ServiceSpec, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Tell that the name means another program."""
    path, program = command_path(service.scope, environ), service.program.executable
    if not is_taken(path) or path.resolve() == program.resolve():
        return []
    return [f"{path} is not this edgeinfer, and was left alone; this one is {program}"]


def is_taken(path: Path) -> bool:
    """Tell whether something is there that was not written here."""
    if path.is_symlink():
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(HEAD)) != HEAD.encode()
    except FileNotFoundError:
        return False
    except OSError:
        return True
