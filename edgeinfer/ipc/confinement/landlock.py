"""Restricts the files and ports of this process by Landlock, which needs no rights to be used.

Interface: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag

from edgeinfer.ipc.confinement.system_call import IS_LINUX, system_call

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, the same on every architecture."""

QUERY_VERSION = 1
PATH_BENEATH = 1

TCP, SCOPES = 0b11, 0b11
"""Binding and connecting; abstract unix sockets of, and signals to, processes outside."""

TCP_VERSION, SCOPE_VERSION = 4, 6


class FileRight(IntFlag):
    """The kinds of access to files, in the kernel's order, which is that of their introduction."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = FileRight.READ_FILE | FileRight.READ_DIR
CHANGE = (
    FileRight.WRITE_FILE
    | FileRight.TRUNCATE
    | FileRight.MAKE_REG
    | FileRight.MAKE_DIR
    | FileRight.REMOVE_FILE
    | FileRight.REMOVE_DIR
)
DEVICE = READ | FileRight.WRITE_FILE | FileRight.IOCTL_DEV

OF_FILES = (
    FileRight.EXECUTE | FileRight.WRITE_FILE | FileRight.READ_FILE | FileRight.TRUNCATE | FileRight.IOCTL_DEV
)
"""Rights that make sense for something other than a directory; the kernel refuses the rest."""

NUMBER_OF_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""By version; all 16 from 5 on."""


def landlock_version() -> int:
    """Return the kernel's version of Landlock; 0 if it has none."""
    if not IS_LINUX:
        return 0
    try:
        return system_call(CREATE_RULESET, None, 0, QUERY_VERSION)
    except OSError:  # not built in, not enabled at boot, or a filter of system calls hides it
        return 0


def restrict_files(version: int, allowed: Iterable[tuple[str, FileRight]], *, tcp: bool = False) -> list[int]:
    """Forbid this thread, and those that it starts, all files but those allowed, and TCP unless `tcp` leaves it.

    A directory is allowed with all that it contains. Paths that do not exist are left out.

    Returns:
        Descriptors of the directories in /proc, which must stay open: the kernel forgets closed ones.

    Raises:
        OSError: the kernel did not accept it.
    """
    handled = FileRight((1 << NUMBER_OF_RIGHTS.get(version, len(FileRight))) - 1)
    ports = 0 if tcp else TCP
    sizes = (
        (handled,)
        if version < TCP_VERSION
        else (handled, ports)
        if version < SCOPE_VERSION
        else (handled, ports, SCOPES)
    )
    attributes = struct.pack(f"={len(sizes)}Q", *sizes)
    ruleset = system_call(CREATE_RULESET, ctypes.create_string_buffer(attributes), len(attributes), 0)
    kept = []
    try:
        for path, rights in allowed:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
                _allow(ruleset, descriptor, rights & handled)
                if path.startswith("/proc/"):
                    kept.append(descriptor)
                else:
                    os.close(descriptor)
        system_call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return kept


def _allow(ruleset: int, descriptor: int, rights: FileRight) -> None:
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= OF_FILES
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
    system_call(ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
