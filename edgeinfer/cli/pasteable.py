"""Writes out the commands in a hint so that they run when they are pasted into this user's shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of commands that sudo runs."""

COMMANDS = "backup bench chat cluster code completion connect doctor install key logs mcp mirror models plan pull reload restore serve service status"
COMMAND = re.compile(rf"(?<![\w./-])(sudo )?edgeinfer(?= (?:{COMMANDS.replace(' ', '|')})\b)")

AGAIN = re.compile(r"\b(?:use|try again with) sudo\b")
"""Stands for the command that was typed, as root."""


def pasteable(text: str) -> str:
    """Return `text` with the full path of `edgeinfer` where a shell, or sudo, would not find it."""
    text = AGAIN.sub(lambda _: f"sudo edgeinfer {shlex.join(sys.argv[1:])}".rstrip(), text)
    return COMMAND.sub(lambda match: (match[1] or "") + program(sudo=bool(match[1])), text)


def program(*, sudo: bool = False) -> str:
    """Return the word that runs this program from a shell, or after `sudo`."""
    if shutil.which("edgeinfer", path=ROOT_PATH if sudo else None):
        return "edgeinfer"
    executable = Path(sys.prefix, "bin/edgeinfer")
    return shlex.quote(str(executable)) if os.access(executable, os.X_OK) else "edgeinfer"


def as_root(command: str) -> str:
    """Return a command that needs root, with `sudo` unless this is root's own shell."""
    return command if os.geteuid() == 0 and "SUDO_USER" not in os.environ else f"sudo {command}"
