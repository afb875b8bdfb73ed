"""Starts a worker process."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

from edgeinfer.ipc.environment import child_environment

MODULE = "edgeinfer.backends.llama_cpp.worker.process"
ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi numbers cards, and so the plan
    "GGML_NO_BACKTRACE": "1",  # otherwise an abort attaches a debugger to the dying worker
    "GOMP_SPINCOUNT": "10000",  # OpenMP's barrier must not spin while another process wants the core
    "OPENBLAS_NUM_THREADS": "1",  # numpy computes little here, and llama.cpp has the cores
    "PYTHONUNBUFFERED": "1",
}


async def spawn(memory: int | None = None) -> tuple[Process, socket.socket]:
    """Start a worker that waits for its first message; -> it, and our end of the socket to it. Raises OSError.

    `memory`: descriptor of the memory that it inherits.
    """
    ours, theirs = socket.socketpair()
    passed = (theirs.fileno(),) if memory is None else (theirs.fileno(), memory)
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                MODULE,
                *map(str, passed),
                pass_fds=passed,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                env=ENVIRONMENT | child_environment(llama=True),
            )
        except BaseException:
            ours.close()
            raise
    return process, ours
