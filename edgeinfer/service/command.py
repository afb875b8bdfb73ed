"""Runs the commands of service managers."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence

from edgeinfer.errors import ServiceFailed

MAX_ERROR_LINES = 5
"""Last lines of a failed command's output that its error repeats."""

Command = list[str]


def run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """Run a command, and return its output.

    Raises:
        ServiceFailed: it does not exist, or fails; the message has its own words.
    """
    done = attempt(command, environ)
    if done.returncode:
        raise failure(command, done)
    return done.stdout


def attempt(
    command: Sequence[str], environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command whose failure the caller handles.

    Raises:
        ServiceFailed: it does not exist.
    """
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
    """Return the error for a failed command, with its own words."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-MAX_ERROR_LINES:]
    text = "; ".join(line.strip() for line in lines) or f"exit status {done.returncode}"
    return ServiceFailed(f"{shlex.join(command)}: {text}", hint=_hint(text))


def _hint(text: str) -> str | None:
    denied = ("authentication required", "access denied", "permission denied", "must be root")
    return "use sudo" if any(phrase in text.lower() for phrase in denied) else None
