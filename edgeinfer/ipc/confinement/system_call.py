"""Calls the kernel where Python's library has no function for it."""

from __future__ import annotations

import ctypes
import os
import sys

IS_LINUX = sys.platform == "linux"

_libc = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *args: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call by its number. Raises OSError."""
    return _checked(_libc.syscall(ctypes.c_long(number), *map(_argument, args)))


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process, or of this thread. Raises OSError."""
    _checked(_libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))))


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name, for new ones. Raises OSError."""
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, flags: int) -> None:
    """Mount without a file system of its own: a bind, or a change of one. Raises OSError."""
    _checked(_libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None))


def _argument(value: int | ctypes.Array[ctypes.c_char] | None) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
