"""Prints how the installed llama.cpp was built, as one JSON object. The main module of a child process."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import sys

import llama_cpp.llama_cpp as lib

from edgeinfer.backends.llama_cpp.binding.libraries import (
    cpu_library,
    has_kernels,
    library,
    load_backends,
    variant,
)

ISA_NAMES = {
    "AVX": "avx",
    "AVX2": "avx2",
    "FMA": "fma",
    "F16C": "f16c",
    "AVX512": "avx512",
    "AVX512_VNNI": "vnni",
    "AVX_VNNI": "avx-vnni",
    "AVX512_BF16": "bf16",
    "AMX_INT8": "amx",
    "NEON": "neon",
    "DOTPROD": "dotprod",
    "FP16_VA": "fp16",
    "MATMUL_INT8": "i8mm",
    "SVE": "sve",
}
"""llama_print_system_info's name of an instruction set -> ours."""

API_NAMES = {"CUDA": "cuda", "ROCm": "rocm", "Metal": "metal", "MTL": "metal", "Vulkan": "vulkan"}
"""Name of a ggml backend -> our name of its API."""


def parse_system_info(text: str) -> tuple[str, ...]:
    """Instruction sets in a text such as "CPU : AVX = 1 | AVX2 = 1 | ..."."""
    entries = {part.rpartition(":")[2].strip() for part in text.split("|")}
    return tuple(word for name, word in ISA_NAMES.items() if f"{name} = 1" in entries)


def backends() -> tuple[str, ...]:
    """Names of the backends that llama.cpp has, even if there is no device for them."""
    ggml, base = library("ggml"), library("ggml-base")
    ggml.ggml_backend_reg_count.restype = ctypes.c_size_t
    ggml.ggml_backend_reg_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_reg_get.restype = ctypes.c_void_p
    base.ggml_backend_reg_name.argtypes = [ctypes.c_void_p]
    base.ggml_backend_reg_name.restype = ctypes.c_char_p
    count = ggml.ggml_backend_reg_count()
    return tuple(base.ggml_backend_reg_name(ggml.ggml_backend_reg_get(i)).decode() for i in range(count))


def main() -> None:
    load_backends()
    info = (lib.llama_print_system_info() or b"").decode("utf-8", "replace")
    file = cpu_library()
    build = {
        "version": importlib.metadata.version("llama-cpp-python"),
        "isa": parse_system_info(info),
        "apis": [API_NAMES[name] for name in backends() if name in API_NAMES],
        "kernels": has_kernels(file),
        "variant": variant(file),
    }
    sys.stdout.write(json.dumps(build) + "\n")


if __name__ == "__main__":
    main()
