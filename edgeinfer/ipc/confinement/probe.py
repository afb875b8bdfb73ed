"""Confines itself as a worker does, and prints the layers that hold, as JSON: python -m …confinement.probe."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from edgeinfer.ipc.confinement.confinement import Confinement, confine_process
from edgeinfer.ipc.confinement.file_access import llama_files
from edgeinfer.ipc.environment import child_environment

TIMEOUT = 30.0
"""Seconds; a busy board takes several to start Python."""


def probe_confinement() -> Confinement:
    """Try it in a process, which cannot be undone.

    Raises:
        OSError, subprocess.SubprocessError, msgspec.DecodeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        env=child_environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Confinement)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(confine_process(llama_files())))
