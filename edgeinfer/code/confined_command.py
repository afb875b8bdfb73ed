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
from collections.abc import Iterator, Set
from pathlib import Path

import msgspec

from edgeinfer.code.sandbox import NIX, CommandJob, command_environment
from edgeinfer.ipc.confinement.confinement import SET_NO_NEW_PRIVILEGES
from edgeinfer.ipc.confinement.file_access import Access
from edgeinfer.ipc.confinement.landlock import CHANGE, READ, FileRight, landlock_version, restrict_files
from edgeinfer.ipc.confinement.namespaces import leave_network, protect_paths
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
from edgeinfer.ipc.confinement.system_call import prctl
from edgeinfer.ipc.descendants import adopt_orphans, end_descendants
from edgeinfer.user_folders import home

PROGRAMS = READ | FileRight.EXECUTE
WORKPLACE = (
    PROGRAMS | CHANGE | FileRight.MAKE_SYM | FileRight.MAKE_FIFO | FileRight.MAKE_SOCK | FileRight.REFER
)
READ_WRITE = FileRight.READ_FILE | FileRight.WRITE_FILE

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def main(argument: str) -> int:
    """Run the command; return its exit code, 128 and the number for one that a signal has ended."""
    job = msgspec.json.decode(argument, type=CommandJob)
    adopt_orphans()
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
    end_descendants()
    return code if code >= 0 else 128 - code


def _end_with_parent(process: subprocess.Popen[bytes]) -> None:
    """End the command once the other end of stdin closes, which also happens when our parent is killed."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _confine(job: CommandJob) -> None:
    """Confine this process and all that it starts. It is to become the command."""
    if job.sandbox.namespaces:
        leave_network()
        protect_paths(job.sandbox.protected)
    filters: list[SystemCallFilter] = []
    try:
        filters.append(SystemCallFilter(_rules()))
    except OSError:  # its library is not installed
        if job.sandbox.kind == "Landlock" and not job.sandbox.namespaces:
            raise
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
    yield job.temporary, WORKPLACE
    if job.sandbox.namespaces:
        yield job.sandbox.root, WORKPLACE
    else:
        closed = set(map(Path, job.sandbox.protected))
        yield from _around(Path(job.sandbox.root), closed, {way for place in closed for way in place.parents})


def _around(place: Path, closed: Set[Path], ways: Set[Path]) -> Iterator[Access]:
    """Yield a file or a folder, with what it contains but for what is closed.

    A right to a folder holds for all that is in it: who may make files in it may make them in its `.git` too.

    Args:
        ways: folders with something closed in them.
    """
    if place not in ways:
        yield str(place), PROGRAMS if place in closed else WORKPLACE
        return
    yield str(place), PROGRAMS
    with contextlib.suppress(OSError):
        for inner in place.iterdir():
            if not inner.is_symlink():  # which would open what it leads to
                yield from _around(inner, closed, ways)


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
