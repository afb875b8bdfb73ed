"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest

from edgeinfer.allocator import return_freed_memory

SIZE, COUNT = 4000, 10_000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason=f"no glibc: {sys.platform}")
def test_memory_that_is_free_between_used_pieces_goes_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pieces = [libc.malloc(SIZE) for _ in range(COUNT)]
    for piece in pieces:
        ctypes.memset(piece, 1, SIZE)
    used = psutil.Process().memory_info().rss
    # All but the last of every hundred: the end of the heap stays in use.
    for piece in (piece for n, piece in enumerate(pieces) if n % 100 != 99):
        libc.free(piece)
    return_freed_memory()
    assert psutil.Process().memory_info().rss < used - SIZE * COUNT / 2
    for piece in pieces[99::100]:
        libc.free(piece)
