"""A llama.cpp for every x86-64 machine uses what each has, and computes the same."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from edgeinfer.hardware.cpu import classes
from tests.support.arm_layers import x86_emulator
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.heavy,  # it compiles llama.cpp
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="another machine has another wheel"
    ),
]

KINDS = "sse42,haswell"
"""Of the 14 kinds of CPUs, to save time: one with vectors that are too narrow for our kernels, one with kernels."""


class Greedy(NamedTuple):
    """What tests/support/greedy.py prints."""

    text: str
    variant: str | None
    kernels: bool


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = ["scripts/build-wheel", "--target", "x86_64", "--kinds", KINDS, "--output", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def libraries(wheel: Path) -> Path:
    """The libraries of that wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "unpacked")
    return wheel.parent / "unpacked/llama_cpp/lib"


def greedy(libraries: Path | None, emulator: Sequence[str] = ()) -> Greedy:
    """What a llama.cpp answers on this machine, or an emulated one."""
    environ = {"LLAMA_CPP_LIB_PATH": str(libraries)} if libraries else {}
    done = subprocess.run(
        [*emulator, sys.executable, "-m", "tests.support.greedy"],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Greedy(**json.loads(done.stdout))


@pytest.fixture(scope="module")
def expected() -> str:
    """The answer of the llama.cpp that is installed, which was built for this machine."""
    return greedy(None).text


@pytest.mark.parametrize(
    ("cpu", "variant", "kernels"), [("Nehalem", "sse42", False), ("Haswell", "haswell", True)]
)
def test_an_older_cpu_answers_the_same(
    libraries: Path, expected: str, cpu: str, variant: str, kernels: bool
) -> None:
    """Told what it is, because numpy's OpenBLAS takes an emulated Nehalem for a Haswell."""
    emulator = [str(x86_emulator()), "-cpu", cpu, "-E", f"OPENBLAS_CORETYPE={cpu}"]
    assert Greedy(expected, variant, kernels) == greedy(libraries, emulator)


def test_this_cpu_uses_the_best_there_is(libraries: Path, expected: str) -> None:
    has_avx2 = "avx2" in (classes(Path("/"))[0].isa or ())
    assert Greedy(expected, *(("haswell", True) if has_avx2 else ("sse42", False))) == greedy(libraries)


def test_the_wheel_holds_what_is_loaded(wheel: Path) -> None:
    """Its name says which glibc it needs, and the OpenMP library comes along."""
    assert re.fullmatch(r"llama_cpp_python-[\d.]+-py3-none-manylinux_2_\d+_x86_64\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
    libraries = {name.removeprefix("llama_cpp/lib/") for name in names if "/lib/" in name}
    kinds = {f"libggml-cpu-{kind}.so" for kind in KINDS.split(",")}
    assert {"libllama.so", "libggml.so.0", "libggml-base.so.0", "libgomp.so.1", *kinds} == libraries
    assert all(name.startswith("llama_cpp") for name in names)
