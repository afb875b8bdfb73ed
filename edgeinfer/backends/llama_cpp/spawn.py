"""Starts worker processes. One can be started ahead, before it is known what it will load."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from edgeinfer.ipc.environment import child_environment
from edgeinfer.ipc.start_signal import send_start

if TYPE_CHECKING:
    from edgeinfer.ipc.child_process import ChildProcess

MODULE = "edgeinfer.backends.llama_cpp.worker.process"
ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi numbers cards, and so the plan
    "GGML_NO_BACKTRACE": "1",  # otherwise an abort attaches a debugger to the dying worker
    "GOMP_SPINCOUNT": "10000",  # OpenMP's barrier must not spin while another process wants the core
    "OPENBLAS_NUM_THREADS": "1",  # numpy computes little here, and llama.cpp has the cores
    "PYTHONUNBUFFERED": "1",
}


class _Started(NamedTuple):
    """A process that waits for its start, and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    socket: socket.socket


_ahead: list[_Started] = []


def start_ahead() -> None:
    """Start the worker that the next call of `spawn` returns, so that it imports llama.cpp while the caller plans."""
    with contextlib.suppress(OSError):  # told by the call of `spawn`
        _ahead.append(_start("ahead"))


def discard() -> None:
    """Let a worker that was started ahead end, as none is needed."""
    while _ahead:
        _close(_ahead.pop())


async def spawn(memory: int | None = None) -> tuple[ChildProcess, socket.socket]:
    """Start a worker that waits for its first message; -> it, and our end of the socket to it. Raises OSError.

    `memory`: descriptor of the memory that it inherits.
    """
    from edgeinfer.ipc.child_process import (
        ChildProcess,
    )  # asyncio takes a tenth of a second, which `start_ahead` spares

    started = _ahead.pop() if _ahead else None
    if started and started.process.poll() is not None:
        _close(started)
        started = None
    child, ours = started or _start()
    process = ChildProcess(child)
    await process.open_stderr()
    with contextlib.suppress(OSError):  # it has died already, which its end tells better
        send_start(ours, memory)
    return process, ours


def pid_ahead() -> int | None:
    """Process id of the worker that was started ahead, while it waits."""
    return _ahead[-1].process.pid if _ahead else None


def _close(started: _Started) -> None:
    started.socket.close()
    if started.process.stderr:
        started.process.stderr.close()
    threading.Thread(target=started.process.wait, daemon=True).start()


def _start(*arguments: str) -> _Started:
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno()), *arguments],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT | child_environment(llama=True),
            )
        except BaseException:
            ours.close()
            raise
    return _Started(process, ours)
