"""Explains the death of a worker by what llama.cpp was built for."""

from __future__ import annotations

import signal
from pathlib import Path

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.hardware import cpu
from edgeinfer.hardware.llama_build import llama_build
from edgeinfer.plan.build_notes import unsuitable

HINT = "build it for this machine with scripts/setup, or install a build for any CPU; edgeinfer doctor has the command"


def wrong_build(status: int) -> ModelLoadFailed | None:
    """Return the error of a worker that met an instruction which this CPU lacks, if llama.cpp was built for another.

    It may load the libraries, which takes seconds on a small board.

    Args:
        status: the worker's exit status; negative is the signal that killed it.
    """
    build = llama_build() if status == -signal.SIGILL else None
    if build is None:
        return None
    root = Path("/")
    text = unsuitable(build, cpu.classes(root), cpu.cpu_name(root))
    return ModelLoadFailed(text, hint=HINT) if text else None
