"""Packages of npm's registry that tests run."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

TIMEOUT = 110


def node_modules(*packages: str) -> Path:
    """Return a folder with these packages (NAME@VERSION), made once for all checkouts.

    Fails if they cannot be had.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "edgeinfer" / "node" / "-".join(packages)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            command = [
                "npm",
                "install",
                "--loglevel",
                "error",
                "--no-save",
                "--prefix",
                str(folder),
                *packages,
            ]
            # A package's own script may start the package, which wants to keep its state somewhere.
            variables = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
            if done.returncode:
                pytest.fail(f"npm cannot install {packages}: {done.stderr[-1000:]}", pytrace=False)
            (folder / "complete").touch()
    return folder / "node_modules"
