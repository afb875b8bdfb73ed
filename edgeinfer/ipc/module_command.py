"""The command line of a Python process that runs one of our modules, wherever it is started."""

from __future__ import annotations

import sys

START = (
    "import runpy, sys; sys.path[0] or sys.path.pop(0); "
    "module = sys.argv.pop(1); runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
"""`python -m` looks for modules in the current folder first, which may be anybody's: it is taken off the path."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return a command that runs `module` as `python -m` does, but never one from the current folder."""
    return [sys.executable, "-c", START, module, *arguments]
