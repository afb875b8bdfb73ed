"""The commands that build llama.cpp for this machine, or set up a checkout again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PACKAGE = "llama-cpp-python"

ROOT = Path(__file__).parents[2]
"""Root of a checkout."""


def setup_command(root: Path = ROOT, prefix: str | None = None) -> str | None:
    """Return the command that sets up a checkout again; None if this is not one that was set up like that."""
    if Path(prefix or sys.prefix) == root / ".venv" and (root / "scripts/setup").is_file():
        # Without the stamp, setup looks at what is installed.
        return f"cd {shlex.quote(str(root))} && rm -f .venv/.setup-stamp && scripts/setup"
    return None


def rebuild_command() -> str:
    """Return the command that rebuilds llama.cpp for this machine."""
    if command := setup_command():
        return command
    pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps --no-cache-dir"
    return f"CMAKE_ARGS=-DGGML_NATIVE=ON {pip} --no-binary {PACKAGE} {PACKAGE}"
