"""The build of the installed llama.cpp."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from edgeinfer.hardware import CpuClass, LlamaBuild, llama_build
from edgeinfer.hardware.cpu import classes
from tests.support.foreign_build import FOREIGN_SET, foreign_build


def test_the_installed_llama_cpp_is_asked() -> None:
    """It has a version, and instruction sets that this machine has too."""
    build = llama_build.read_build()
    assert build
    assert importlib.metadata.version("llama-cpp-python") == build.version
    isa = classes(Path("/"))[0].isa
    assert build.isa
    assert isa is None or set(build.isa) <= set(isa)


def test_a_build_that_crashes_on_this_cpu_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library for the CPU tells what it was compiled for. It is asked again: a restart may find another CPU."""
    foreign_build(tmp_path / "lib", monkeypatch)
    expected = LlamaBuild(importlib.metadata.version("llama-cpp-python"), (FOREIGN_SET,), loads=False)
    assert expected == llama_build.llama_build(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[LlamaBuild]:
    """Builds that stand in for those that a process would read."""
    builds: list[LlamaBuild] = []

    def read_build() -> LlamaBuild:
        builds.append(LlamaBuild(f"1.{len(builds)}", ("neon",), ("cuda",)))
        return builds[-1]

    monkeypatch.setattr(llama_build, "read_build", read_build)
    return builds


def test_the_answer_is_kept(builds: list[LlamaBuild], tmp_path: Path) -> None:
    """Loading the libraries takes seconds on a small board."""
    first = llama_build.llama_build(tmp_path / "cache")
    assert first == llama_build.llama_build(tmp_path / "cache")
    assert [first] == builds
    assert [llama_build.CACHE_FILE] == [path.name for path in (tmp_path / "cache").iterdir()]


def test_other_libraries_are_asked_anew(
    builds: list[LlamaBuild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries change with an upgrade, or when another version comes first."""
    package = tmp_path / "llama_cpp"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").touch()
    library = package / "lib" / "libllama.so"
    library.write_bytes(b"old")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    answers = [llama_build.llama_build(tmp_path / "cache") for _ in range(2)]
    library.write_bytes(b"newer")
    answers.append(llama_build.llama_build(tmp_path / "cache"))
    assert [builds[0], builds[0], builds[1]] == answers


def test_libraries_that_choose_by_the_cpu_are_asked_anew_on_another(
    builds: list[LlamaBuild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SD card may move to another board."""
    libraries = tmp_path / "lib"
    libraries.mkdir()
    (libraries / "libggml-cpu-armv8.0_1.so").touch()
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(libraries))
    answers = []
    for isa in (("neon",), ("neon",), ("neon", "dotprod")):
        monkeypatch.setattr(llama_build, "classes", lambda _, isa=isa: [CpuClass([0], None, None, isa=isa)])
        answers.append(llama_build.llama_build(tmp_path / "cache"))
    assert [builds[0], builds[0], builds[1]] == answers


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"libraries": 1}', b"\xff"])
def test_a_broken_cache_is_passed_over(content: bytes, builds: list[LlamaBuild], tmp_path: Path) -> None:
    """It is then written again."""
    (tmp_path / llama_build.CACHE_FILE).write_bytes(content)
    assert builds == []
    assert [llama_build.llama_build(tmp_path), llama_build.llama_build(tmp_path)] == [builds[0]] * 2


def test_a_cache_that_cannot_be_written_is_none(builds: list[LlamaBuild], tmp_path: Path) -> None:
    """A read-only system loads the libraries each time."""
    (tmp_path / "file").touch()
    for _ in range(2):
        assert llama_build.llama_build(tmp_path / "file" / "cache")
    assert 2 == len(builds)


def test_without_llama_cpp_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known either if its libraries do not load."""
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").write_text("raise OSError('libcuda.so.1: no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    assert llama_build.llama_build(tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()
