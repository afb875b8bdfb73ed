"""Finds the program `vllm`, which is usually installed in an environment of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.user_folders import expanded_path

PROGRAM = "vllm"


def find_vllm(command: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of the program; None if there is none.

    `command` is a program, or an environment that has it. Otherwise it is the one beside our Python, or on the PATH.
    """
    if command:
        path = expanded_path(command)
        path = path / "bin" / PROGRAM if path.is_dir() else path
        return str(path.absolute()) if path.is_file() and os.access(path, os.X_OK) else None
    beside = Path(sys.executable).with_name(PROGRAM)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(PROGRAM, path=environ.get("PATH"))
