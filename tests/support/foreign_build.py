"""A llama.cpp that was compiled for other CPUs: it dies of an illegal instruction, or finds none of its variants good."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

IS_X86 = platform.machine() == "x86_64"

FOREIGN_SET = "dotprod" if IS_X86 else "avx512"
"""An instruction set that the machine of the tests does not have, whatever it is."""

CRASHES = """
int ggml_cpu_has_{name}(void) {{ return 1; }}
void *ggml_backend_cpu_reg(void) {{ __asm__ volatile("{illegal}"); return 0; }}
void *ggml_backend_init(void) {{ return ggml_backend_cpu_reg(); }}
""".format(name=FOREIGN_SET, illegal="ud2" if IS_X86 else ".inst 0")
"""The first is called where the build has one library for the CPU, the second where it picks one of several."""

COMPUTES_NOTHING = "void *ggml_backend_cpu_reg(void) { return 0; }"


def foreign_build(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes load llama.cpp from `directory`, with a library for the CPU that crashes when it is first used."""
    if _build(directory, CRASHES, monkeypatch):
        # A variant that cannot tell whether it suits this CPU is passed over, for the library without a name.
        (directory / "libggml-cpu-foreign.so").symlink_to("libggml-cpu.so")


def build_of_variants(directory: Path, monkeypatch: pytest.MonkeyPatch, *variants: str) -> None:
    """Have processes load llama.cpp from `directory`, with variants none of which can be loaded."""
    _build(directory, COMPUTES_NOTHING, monkeypatch)
    for name in variants:
        (directory / f"libggml-cpu-{name}.so").touch()


def _build(directory: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether the installed llama.cpp, of which this is a copy, picks one of several libraries for the CPU."""
    package = importlib.util.find_spec("llama_cpp")
    assert package
    assert package.origin
    installed = Path(package.origin).parent / "lib"
    shutil.copytree(installed, directory, ignore=shutil.ignore_patterns("libggml-cpu*"))
    file, made = directory / "foreign.c", directory / "libggml-cpu.so"
    file.write_text(source)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    options = ["-shared", "-fPIC", "-Wl,-soname,libggml-cpu.so.0"]
    subprocess.run([*compiler, *options, "-o", str(made), str(file)], check=True)
    (directory / "libggml-cpu.so.0").symlink_to(made.name)
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(directory))
    return any(installed.glob("libggml-cpu-*"))
