"""Prints the instruction sets that the installed llama.cpp was compiled for, as one JSON object, without running it.

On a CPU that lacks one of them, llama.cpp crashes as soon as it is loaded, but its library for the CPU can be asked.
The main module of a child process.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import sys
from pathlib import Path

from edgeinfer.llama_version import llama_version

QUESTIONS = {
    "avx": "ggml_cpu_has_avx",
    "avx2": "ggml_cpu_has_avx2",
    "fma": "ggml_cpu_has_fma",
    "f16c": "ggml_cpu_has_f16c",
    "avx512": "ggml_cpu_has_avx512",
    "vnni": "ggml_cpu_has_avx512_vnni",
    "avx-vnni": "ggml_cpu_has_avx_vnni",
    "bf16": "ggml_cpu_has_avx512_bf16",
    "amx": "ggml_cpu_has_amx_int8",
    "neon": "ggml_cpu_has_neon",
    "dotprod": "ggml_cpu_has_dotprod",
    "fp16": "ggml_cpu_has_fp16_va",
    "i8mm": "ggml_cpu_has_matmul_int8",
    "sve": "ggml_cpu_has_sve",
}
"""Our name of an instruction set -> the function that tells whether a library was compiled for it."""


def compiled_sets(file: Path | None) -> tuple[str, ...]:
    """Return the instruction sets that a library for the CPU was compiled for; empty if there is none."""
    if file is None:
        return ()
    loaded = ctypes.CDLL(str(file))
    return tuple(
        word for word, name in QUESTIONS.items() if hasattr(loaded, name) and getattr(loaded, name)()
    )


def only_library() -> Path | None:
    """Return the library of a package that has one for all CPUs; None if it has several, or is not installed."""
    package = importlib.util.find_spec("llama_cpp")
    if package is None or package.origin is None:
        return None
    directory = Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(package.origin).parent / "lib")
    file = directory / f"libggml-cpu.{'dylib' if sys.platform == 'darwin' else 'so'}"
    return file if file.is_file() else None


def main() -> None:
    build = {"version": llama_version() or "?", "isa": compiled_sets(only_library()), "loads": False}
    sys.stdout.write(json.dumps(build) + "\n")


if __name__ == "__main__":
    main()
