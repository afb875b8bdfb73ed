"""Running the commands of service managers."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence

from edgeinfer.errors import ServiceFailed

LAST_LINES = 5
"""Of what a failed command says, that are worth repeating."""

Command = list[str]


def run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """What it writes to stdout.

    Raises:
        ServiceFailed: it is not there, or it fails; with its own words.
    """
    done = attempt(command, environ)
    if done.returncode:
        raise failure(command, done)
    return done.stdout


def attempt(
    command: Sequence[str], environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As run, but a failure is for the caller to see."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environ,
            check=False,
        )
    except OSError as e:
        raise ServiceFailed(f"cannot run {command[0]}: {e.strerror or e}") from e


def failure(command: Sequence[str], done: subprocess.CompletedProcess[str]) -> ServiceFailed:
    """A failed command, with its own words."""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-LAST_LINES:]
    words = "; ".join(line.strip() for line in said) or f"exit status {done.returncode}"
    return ServiceFailed(f"{shlex.join(command)}: {words}", hint=_hint(words))


def _hint(words: str) -> str | None:
    denied = ("authentication required", "access denied", "permission denied", "must be root")
    return "try it with sudo" if any(text in words.lower() for text in denied) else None
