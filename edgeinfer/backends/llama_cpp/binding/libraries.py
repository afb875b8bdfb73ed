"""The files of llama.cpp: where they are, and which of them computes on the CPU.

A package for any machine has a library for each kind of CPU, a *variant*, and picks one when it loads. It must be told
where they are: left to itself, llama.cpp looks in the directory of the program and in the current one.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from pathlib import Path

import llama_cpp.llama_cpp as lib

from edgeinfer.errors import ModelLoadFailed

KERNELS = "__wrap_ggml_cpu_extra_compute_forward"
"""The function through which llama.cpp calls our own matrix products, in CPU libraries that have some."""

ROW_EXACT = "edgeinfer_attends"
"""The one that tells which attention those of `scripts/llama/x86/` compute. Without them, a row's products and
attention depend on the rows beside it."""

VARIANT = re.compile(r"libggml-cpu-(.+)\.so")


class SymbolInfo(ctypes.Structure):
    """Dl_info of <dlfcn.h>."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


@functools.cache
def load_backends() -> None:
    """Load what computes, unless it came with llama.cpp's own library. Call it before anything that needs a model.

    Raises:
        ModelLoadFailed: none of the variants can be loaded on this CPU.
    """
    variants = sorted(match[1] for file in directory().iterdir() if (match := VARIANT.fullmatch(file.name)))
    if variants:
        load = ggml().ggml_backend_load_all_from_path
        load.argtypes = [ctypes.c_char_p]
        load.restype = None
        load(os.fsencode(directory()))
    lib.llama_backend_init()
    if variants and not _cpu_backend():
        raise ModelLoadFailed(
            f"none of llama.cpp's variants can be loaded on this CPU: {', '.join(variants)}",
            hint="edgeinfer doctor says how to build llama.cpp for this machine",
        )


def directory() -> Path:
    """Return the directory that llama_cpp has loaded its library from."""
    return Path(lib._lib._name).parent


def ggml() -> ctypes.CDLL:
    """Return a library that has the functions of ggml, on which llama.cpp builds.

    It is llama.cpp's own, through which the linker finds those it depends on. libggml.so in the same directory may be
    another copy of the file that llama.cpp has loaded, and would have backends of its own.
    """
    library: ctypes.CDLL = lib._lib
    return library


def cpu_library() -> Path | None:
    """Return the file that computes on the CPU, None if there is none or it cannot be told."""
    load_backends()
    locate = ctypes.CDLL(None).dladdr
    locate.argtypes = [ctypes.c_void_p, ctypes.POINTER(SymbolInfo)]
    info = SymbolInfo()
    backend = _cpu_backend()
    if not backend or not locate(backend, ctypes.byref(info)) or not info.file:
        return None
    return Path(os.fsdecode(info.file))


def _cpu_backend() -> int | None:
    """Return the address of what ggml has registered for the CPU; None if there is nothing."""
    find = ggml().ggml_backend_reg_by_name
    find.argtypes, find.restype = [ctypes.c_char_p], ctypes.c_void_p
    address: int | None = find(b"CPU")
    return address


def variant(file: Path | None) -> str | None:
    """Return the name of the variant that a CPU library is, such as "haswell"; None if the build has only one."""
    match = VARIANT.fullmatch(file.name) if file else None
    return match[1] if match else None


def has_kernels(file: Path | None) -> bool:
    """Return whether our own kernels were built into a CPU library."""
    return file is not None and hasattr(ctypes.CDLL(str(file)), KERNELS)


def is_row_exact(file: Path | None) -> bool:
    """Return whether a CPU library computes each row of a product and of attention alike, however many are computed together."""
    return file is not None and hasattr(ctypes.CDLL(str(file)), ROW_EXACT)
