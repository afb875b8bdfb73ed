"""Runs one command in a sandbox and leaves no process behind: python -m edgeinfer.code.confined_command JSON.

It is the parent of whatever the command starts, also of what wants to live on, and ends all of that with the command.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from edgeinfer.code.sandbox import NIX, Sandbox, command_environment
from edgeinfer.ipc.confinement.confinement import SET_NO_NEW_PRIVILEGES
from edgeinfer.ipc.confinement.file_access import Access
from edgeinfer.ipc.confinement.landlock import CHANGE, READ, FileRight, landlock_version, restrict_files
from edgeinfer.ipc.confinement.namespaces import leave_network, protect_folder
from edgeinfer.ipc.confinement.seccomp import (
    AF_UNIX,
    EQUAL,
    KERNEL,
    NAMESPACES,
    NOT_EQUAL,
    Argument,
    Rule,
    SystemCallFilter,
)
from edgeinfer.ipc.confinement.system_call import IS_LINUX, prctl
from edgeinfer.user_folders import home

SET_CHILD_SUBREAPER = 36
PROGRAMS = READ | FileRight.EXECUTE
WORKPLACE = (
    PROGRAMS | CHANGE | FileRight.MAKE_SYM | FileRight.MAKE_FIFO | FileRight.MAKE_SOCK | FileRight.REFER
)
READ_WRITE = FileRight.READ_FILE | FileRight.WRITE_FILE

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class CommandJob(msgspec.Struct, frozen=True):
    """A shell's command line, and where it may run."""

    line: str
    sandbox: Sandbox
    temporary: str


def main(argument: str) -> int:
    """Run the command; return its exit code, 128 and the number for one that a signal has ended."""
    job = msgspec.json.decode(argument, type=CommandJob)
    if IS_LINUX:
        prctl(SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(
        job.sandbox.command(job.line, job.temporary),
        cwd=job.sandbox.root,
        env=command_environment(job.temporary),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        preexec_fn=(lambda: _confine(job)) if job.sandbox.kind.startswith("Landlock") else None,
        start_new_session=True,
    )
    _end_with_parent(process)
    code = process.wait()
    _end_descendants()
    return code if code >= 0 else 128 - code


def _end_with_parent(process: subprocess.Popen[bytes]) -> None:
    """End the command once the other end of stdin closes, which also happens when our parent is killed."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _end_descendants() -> None:
    """End what the command has left behind, until nothing is."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, timeout=1)


def _confine(job: CommandJob) -> None:
    """Confine this process and all that it starts. It is to become the command."""
    with contextlib.suppress(
        OSError
    ):  # no such folder, or in a container; the layers below stop connections too
        leave_network()
        protect_folder(f"{job.sandbox.root}/.git")
    filters = [SystemCallFilter(_rules())] if job.sandbox.kind == "Landlock" else []
    prctl(SET_NO_NEW_PRIVILEGES, 1)
    restrict_files(landlock_version(), _files(job))
    for system_calls in filters:
        system_calls.apply()


def _rules() -> Iterator[Rule]:
    """Yield the system calls that a build or a test does not need."""
    yield from map(Rule, (*KERNEL, *NAMESPACES))
    yield Rule("connect")
    yield Rule("socket", where=Argument(0, NOT_EQUAL, AF_UNIX))
    yield Rule("ptrace")
    yield Rule("ioctl", where=Argument(1, EQUAL, 0x5412))


def _files(job: CommandJob) -> Iterator[Access]:
    hidden = home().resolve()
    for folder in _beside(hidden):
        yield folder, PROGRAMS
    yield from ((folder, PROGRAMS) for folder in job.sandbox.readable)
    yield NIX, PROGRAMS
    yield from ((device, READ_WRITE) for device in DEVICES)
    yield from ((folder, WORKPLACE) for folder in (job.sandbox.root, job.temporary))


def _beside(hidden: Path) -> Iterator[str]:
    """Yield all folders but those on the way to the user's home, and but those that everybody writes to."""
    closed = [hidden, *hidden.parents, *map(Path, ("/tmp", "/var/tmp", "/run"))]
    for parent in hidden.parents:
        with contextlib.suppress(OSError):
            for entry in parent.iterdir():
                if entry.resolve() not in closed:  # a link opens what it leads to
                    yield str(entry)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
