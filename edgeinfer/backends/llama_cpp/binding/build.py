"""Prints how the installed llama.cpp was built, as one JSON object. The main module of a child process."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import sys
from pathlib import Path

import llama_cpp.llama_cpp as lib

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
    """Names of the backends that llama.cpp was built with, even if there is no device for them."""
    ggml = ctypes.CDLL(str(_library("ggml")))
    base = ctypes.CDLL(str(_library("ggml-base")))
    ggml.ggml_backend_reg_count.restype = ctypes.c_size_t
    ggml.ggml_backend_reg_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_reg_get.restype = ctypes.c_void_p
    base.ggml_backend_reg_name.argtypes = [ctypes.c_void_p]
    base.ggml_backend_reg_name.restype = ctypes.c_char_p
    count = ggml.ggml_backend_reg_count()
    return tuple(base.ggml_backend_reg_name(ggml.ggml_backend_reg_get(i)).decode() for i in range(count))


def has_kernels() -> bool:
    """True if scripts/setup has built in our own matrix-product kernels for x86."""
    try:
        return hasattr(ctypes.CDLL(str(_library("ggml-cpu"))), "__wrap_ggml_gemm_q4_0_8x8_q8_0")
    except OSError:  # this build has a separate library for each kind of CPU
        return False


def _library(name: str) -> Path:
    directory = Path(lib.__file__).parent / "lib"
    suffix = "dylib" if sys.platform == "darwin" else "so"
    return directory / f"lib{name}.{suffix}"


def main() -> None:
    info = (lib.llama_print_system_info() or b"").decode("utf-8", "replace")
    build = {
        "version": importlib.metadata.version("llama-cpp-python"),
        "isa": parse_system_info(info),
        "apis": [API_NAMES[name] for name in backends() if name in API_NAMES],
        "kernels": has_kernels(),
    }
    sys.stdout.write(json.dumps(build) + "\n")


if __name__ == "__main__":
    main()
