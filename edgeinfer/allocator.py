"""Gives memory back to the system that glibc's allocator keeps for later, though all that was in it is freed."""

from __future__ import annotations

import ctypes

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""https://man7.org/linux/man-pages/man3/malloc_trim.3.html; other C libraries have none, and need none."""


def return_freed_memory() -> None:
    """Return what is free, also between what is in use. It takes milliseconds, without Python's lock."""
    if _malloc_trim:
        _malloc_trim(0)
