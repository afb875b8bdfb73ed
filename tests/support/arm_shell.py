"""Runs a command, or tests, in an emulated ARM machine that has this checkout.

python -m tests.support.arm_shell CPU COMMAND...
python -m tests.support.arm_shell --units [PYTEST ARGUMENTS]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import arm_layers
from tests.support.arm_box import ArmBox, open_box
from tests.support.paths import ROOT

PI_5 = "cortex-a76"
"""The core of a Raspberry Pi 5."""

UNITS = (
    *("python3", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--timeout=1200"),
    *("--numprocesses=2", "--dist=loadfile", "-m", "not slow and not alone"),
    "--tb=native",  # others parse the source, which Debian's Python 3.11.2 sometimes cannot
)
"""Runs tests, but none that is slow already or that measures time."""

DEPENDENT = tuple(
    f"tests/{package}"
    for package in (
        *("hardware", "ipc", "gguf", "safetensors", "inference", "plan"),
        *("engine", "backends/llama_cpp", "grammar"),
    )
)
"""Tests of what depends on the processor, on the system's calls, or on libraries that are built for it."""


def layers() -> list[Path]:
    """Return what a machine is made of that has what the tests need, which takes minutes the first time."""
    return [arm_layers.llama(), arm_layers.tools(), arm_layers.system("gcc", "libc6-dev")]


@contextmanager
def checkout_box(cpu: str) -> Iterator[ArmBox]:
    """A machine that has this checkout under its own path, and what its tests need."""
    with open_box(cpu, layers(), binds=[ROOT]) as box:
        yield box


def in_checkout(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that runs another in the checkout of such a machine."""
    return ("env", f"--chdir={ROOT}", f"PYTHONPATH={ROOT}", "CC=gcc", *command)


def main(cpu: str, *command: str) -> int:
    if cpu == "--units":
        named = any((ROOT / argument.partition("::")[0]).exists() for argument in command)
        cpu, command = PI_5, (*UNITS, *command, *(() if named else DEPENDENT))
    try:
        with checkout_box(cpu) as box:
            return subprocess.run(box.command(in_checkout(command)), check=False).returncode
    except arm_layers.MissingMeans as e:
        sys.stderr.write(f"error: {e}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
