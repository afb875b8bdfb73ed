"""Starts worker processes. One can be started ahead, before it is known what it will load.

It reads what was loaded the last time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeinfer.ipc.environment import child_environment
from edgeinfer.ipc.start_signal import send_start
from edgeinfer.user_folders import daemon_cache_folder

if TYPE_CHECKING:
    from edgeinfer.backends.llama_cpp.messages import Load
    from edgeinfer.ipc.child_process import ChildProcess

MODULE = "edgeinfer.backends.llama_cpp.worker.process"
ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi numbers cards, and so the plan
    "GGML_NO_BACKTRACE": "1",  # otherwise an abort attaches a debugger to the dying worker
    "GOMP_SPINCOUNT": "10000",  # OpenMP's barrier must not spin while another process wants the core
    "OPENBLAS_NUM_THREADS": "1",  # numpy computes little here, and llama.cpp has the cores
    "PYTHONUNBUFFERED": "1",
}


SETTINGS = "EDGEINFER_"
"""Beginning of the names of variables that are settings."""

MAX_RECORD = 1 << 15
"""Bytes; a record of a first load has two thousand, and a pipe takes 64 KiB before anybody reads it."""

READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

SHARED = 0o022
"""Mode of a file that others may write, who must not decide what is read."""


class Spawned(NamedTuple):
    """A worker that waits for its first message, and our end of the socket to it.

    Attributes:
        record: file to write once this worker is ready; None unless it is the daemon's first.
    """

    process: ChildProcess
    socket: socket.socket
    record: Path | None = None


class _Started(NamedTuple):
    process: subprocess.Popen[bytes]
    socket: socket.socket
    record: Path | None = None
    content: bytes = b""


_ahead: list[_Started] = []


def record_of(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that remembers what a daemon loads first if this command starts it, here and with these settings."""
    settings = sorted(f"{name}={value}" for name, value in environ.items() if name.startswith(SETTINGS))
    try:
        how = "\0".join([*command, str(Path.cwd()), *settings])
    except OSError:  # the directory has been deleted
        return None
    return (
        daemon_cache_folder(environ)
        / "first-loads"
        / f"{hashlib.sha256(os.fsencode(how)).hexdigest()[:16]}.json"
    )


def start_ahead(record: Path | None = None) -> None:
    """Start the worker that the next call of `spawn` returns, so that it gets ready while the caller plans.

    It imports llama.cpp, and reads the model that `record` names as the one that was loaded first the last time.
    """
    with contextlib.suppress(OSError):  # told by the call of `spawn`
        content = _own_content(record) if record else b""
        started = _start("ahead")
        _ahead.append(started._replace(record=record, content=content))
        if started.process.stdin:
            with started.process.stdin as pipe:
                pipe.write(content)


def discard(*, forget: bool = False) -> None:
    """Let a worker that was started ahead end, as none is needed. `forget`: nor will one be the next time."""
    while _ahead:
        started = _ahead.pop()
        _close(started)
        if forget and started.record:
            with contextlib.suppress(OSError):
                started.record.unlink(missing_ok=True)


async def spawn(load: Load, memory: int | None = None) -> Spawned:
    """Start a worker that waits for its first message, which will be `load`. Raises OSError.

    `memory`: descriptor of the memory that it inherits.
    """
    from edgeinfer.ipc.child_process import (
        ChildProcess,
    )  # asyncio takes a tenth of a second, which `start_ahead` spares

    started = _ahead.pop() if _ahead else None
    record = started.record if started else None
    if started and not _suits(started, load):
        _close(started)
        started = None
    child, ours, *_ = started or _start()
    process = ChildProcess(child)
    await process.open_stderr()
    with contextlib.suppress(OSError):  # it has died already, which its end tells better
        send_start(ours, memory)
    return Spawned(process, ours, record)


def pid_ahead() -> int | None:
    """Process id of the worker that was started ahead, while it waits."""
    return _ahead[-1].process.pid if _ahead else None


def _suits(started: _Started, load: Load) -> bool:
    """It runs, and what it may be reading is what `load` is about."""
    from edgeinfer.backends.llama_cpp.first_load import read_first_load

    first = read_first_load(started.content)
    return started.process.poll() is None and (first is None or first.suits(load))


def _own_content(path: Path) -> bytes:
    """The content of a file that nobody else could have written; nothing if it is another's, or there is none."""
    with contextlib.suppress(OSError), os.fdopen(os.open(path, READING), "rb") as file:
        status = os.fstat(file.fileno())
        own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & SHARED
        if own and status.st_size <= MAX_RECORD:
            return file.read(MAX_RECORD)
    return b""


def _close(started: _Started) -> None:
    started.socket.close()
    if started.content:
        started.process.kill()  # while it reads a model it does not notice that it is alone
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
                stdin=subprocess.PIPE if arguments else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT | child_environment(llama=True),
            )
        except BaseException:
            ours.close()
            raise
    return _Started(process, ours)
