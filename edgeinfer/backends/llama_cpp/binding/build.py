"""Prints how the installed llama.cpp was built, as one JSON object. The main module of a child process."""

from __future__ import annotations

import ctypes
import sys

import msgspec

from edgeinfer.backends.llama_cpp.binding.compiled_sets import compiled_sets
from edgeinfer.backends.llama_cpp.binding.libraries import (
    cpu_library,
    ggml,
    has_kernels,
    is_row_exact,
    load_backends,
    variant,
)
from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.types import EngineBuild
from edgeinfer.llama_version import llama_version

API_NAMES = {"CUDA": "cuda", "ROCm": "rocm", "Metal": "metal", "MTL": "metal", "Vulkan": "vulkan"}
"""Name of a ggml backend -> our name of its API."""


def backends() -> tuple[str, ...]:
    """Names of the backends that llama.cpp has, even if there is no device for them."""
    library = ggml()
    library.ggml_backend_reg_count.restype = ctypes.c_size_t
    library.ggml_backend_reg_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_reg_get.restype = ctypes.c_void_p
    library.ggml_backend_reg_name.argtypes = [ctypes.c_void_p]
    library.ggml_backend_reg_name.restype = ctypes.c_char_p
    count = library.ggml_backend_reg_count()
    return tuple(
        library.ggml_backend_reg_name(library.ggml_backend_reg_get(i)).decode() for i in range(count)
    )


def engine_build() -> EngineBuild:
    """Load what computes, and return what it is. Raises ModelLoadFailed: it cannot be loaded on this CPU."""
    load_backends()
    file = cpu_library()
    return EngineBuild(
        version=llama_version() or "?",
        isa=compiled_sets(file),
        apis=tuple(API_NAMES[name] for name in backends() if name in API_NAMES),
        kernels=has_kernels(file),
        row_exact=is_row_exact(file),
        variant=variant(file),
    )


def main() -> None:
    try:
        build = engine_build()
    except ModelLoadFailed as e:
        sys.exit(e.message)
    sys.stdout.buffer.write(msgspec.json.encode(build) + b"\n")


if __name__ == "__main__":
    main()
