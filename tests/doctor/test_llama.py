"""Packages and llama.cpp: versions, damage, and a build that does not suit the CPU."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import msgspec
import pytest

import edgeinfer
from edgeinfer.doctor import installation, llama
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.installation import PackageMetadata
from edgeinfer.hardware import CpuClass, LlamaBuild, detect
from edgeinfer.hardware.llama_build import read_build
from edgeinfer.plan import rebuild
from tests.support.foreign_build import FOREIGN_SET, build_of_variants, foreign_build
from tests.support.paths import TREES

INSTALLED = {"httpx": "0.28.1", "llama-cpp-python": "0.3.36"}


def packages(
    *requires: str, python: str = "3.11.7", version: str = "1.0", setup: str | None = None
) -> list[Finding]:
    wanted = PackageMetadata(version, ">=3.10", requires)
    return installation.check_installation(wanted, INSTALLED.get, python, "1.0", setup)


def cpu(tree: str) -> list[CpuClass]:
    return detect(TREES / tree).cpus


def build(*isa: str) -> LlamaBuild:
    return LlamaBuild("0.3.36", isa, kernels=True)


def test_this_installation_has_what_it_wants() -> None:
    """Its own metadata, and the versions that are here."""
    [finding] = installation.check_installation(
        installation.package_metadata(), installation.installed_version
    )
    assert finding.level == "ok"
    assert edgeinfer.__version__ in finding.text


def test_packages_that_suit_are_counted() -> None:
    """Those of another platform and of an extra are not wanted."""
    [finding] = packages("httpx>=0.28", "tomli>=2; python_version < '3'", "pytest>=8; extra == 'dev'")
    assert (finding.level, finding.text) == ("ok", "edgeinfer 1.0, Python 3.11.7, 1 package")


def test_missing_and_old_packages_are_named() -> None:
    """With the command that gets what is wanted; llama.cpp is built for the machine instead."""
    missing, old, engine = packages("msgspec>=0.19", "httpx>=0.30", "llama-cpp-python>=0.4")
    assert (missing.level, missing.text) == ("error", "msgspec is missing")
    assert missing.fix
    assert missing.fix.endswith("-m pip install 'msgspec>=0.19'")
    assert old.text == "httpx 0.28.1 does not satisfy httpx>=0.30"
    assert engine.text == "llama-cpp-python 0.3.36 does not satisfy llama-cpp-python>=0.4"
    assert engine.fix == rebuild.rebuild_command()


def test_an_old_python_and_a_half_done_upgrade() -> None:
    """What runs is not what was installed."""
    assert packages(python="3.9.2")[0].text == "Python 3.9.2 does not satisfy >=3.10"
    [finding] = packages(version="0.9")
    assert (finding.level, finding.text) == ("warning", "the code is version 1.0, but 0.9 is installed")


def test_no_advice_fetches_edgeinfer_from_an_index(tmp_path: Path) -> None:
    """Another program may have the name there. A checkout is set up again, by its own script."""
    (tmp_path / "scripts").mkdir()
    assert rebuild.setup_command(tmp_path, str(tmp_path / ".venv")) is None
    (tmp_path / "scripts/setup").touch()
    assert rebuild.setup_command(tmp_path, "/usr") is None
    setup = rebuild.setup_command(tmp_path, str(tmp_path / ".venv"))
    assert setup == f"cd {tmp_path} && rm -f .venv/.setup-stamp && scripts/setup"
    for where in (setup, None):
        outdated, missing = packages("msgspec>=0.19", version="0.9", setup=where)
        [unknown] = installation.check_installation(None, INSTALLED.get, setup=where)
        for finding in (outdated, missing, unknown):
            assert finding.fix
            assert "edgeinfer" not in finding.fix.replace(str(tmp_path), "").split()
            assert finding.fix == (where or finding.fix)


def test_a_checkout_that_was_never_set_up() -> None:
    """It is not known what it wants."""
    [finding] = installation.check_installation(None, INSTALLED.get)
    assert finding.level == "note"


def test_llama_cpp_loads_here_and_is_whole() -> None:
    """A real process loads it, and all its libraries have the hashes that they were installed with."""
    loaded = llama.try_load()
    assert loaded == read_build()
    assert isinstance(loaded, LlamaBuild)
    assert llama.damaged_libraries() == []
    assert llama.check_llama(loaded, [], [], "fix")[0].level == "ok"


def test_a_llama_cpp_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of what Python says, or the signal."""
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").touch()
    functions = package / "llama_cpp.py"
    functions.write_text("raise RuntimeError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    error = llama.try_load()
    assert error == "RuntimeError: libgomp.so.1: cannot open shared object file"
    [finding] = llama.check_llama(error, [], [], "rebuild")
    assert (finding.level, finding.fix) == ("error", "install the OpenMP library: sudo apt install libgomp1")
    functions.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert llama.try_load() == "SIGSEGV"
    assert llama.check_llama("SIGSEGV", [], [], "rebuild")[0].fix == "rebuild"


def test_variants_that_are_all_for_other_cpus_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that are damaged: llama.cpp would only say that no backends are loaded."""
    build_of_variants(tmp_path / "lib", monkeypatch, "haswell", "zen4")
    text = "none of llama.cpp's variants can be loaded on this CPU: haswell, zen4"
    error = llama.try_load()
    assert text == error
    [finding] = llama.check_llama(error, [], [], "rebuild")
    assert (finding.level, finding.text, finding.fix) == (
        "error",
        f"llama.cpp does not load: {text}",
        "rebuild",
    )


def test_a_build_for_another_cpu_is_told_from_one_that_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both die of an illegal instruction; only the first asks for something that this CPU lacks."""
    foreign_build(tmp_path / "lib", monkeypatch)
    loaded = llama.try_load()
    assert isinstance(loaded, LlamaBuild)
    cpus = detect().cpus
    [finding] = llama.check_llama(loaded, [], cpus, "rebuild")
    assert (finding.level, finding.fix) == ("error", "rebuild")
    assert f"llama.cpp was built for a CPU with {FOREIGN_SET}, and this one" in finding.text
    broken = msgspec.structs.replace(loaded, isa=cpus[0].isa or ())
    [finding] = llama.check_llama(broken, [], cpus, "rebuild")
    assert (finding.level, finding.fix) == ("error", "rebuild")
    assert "does not load: SIGILL, though this CPU has all" in finding.text


@pytest.mark.parametrize(
    ("tree", "lacks"),
    [("n100-mini-pc", True), ("pi5-8gb", True), ("amx-server", False)],
)
def test_products_of_our_own_are_missed_where_they_help(tree: str, lacks: bool) -> None:
    """On a CPU without AMX, where nobody has built llama.cpp with them."""
    without = LlamaBuild("0.3.36")
    assert [f.level for f in llama.check_kernels(without, cpu(tree))] == ["note"] * lacks
    assert llama.check_kernels(msgspec.structs.replace(without, kernels=True), cpu(tree)) == []
    assert llama.check_kernels(msgspec.structs.replace(without, apis=("cuda",)), cpu(tree)) == []


def test_damaged_libraries_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, of another size, of another content; what is no library is not looked at."""
    info, folder = tmp_path / "llama_cpp_python-0.3.36.dist-info", tmp_path / "llama_cpp/lib"
    info.mkdir()
    folder.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 0.3.36\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"library").digest()).decode().rstrip("=")
    names = ("libggml.so", "libggml-cpu.so.0", "libllama.so.0.5.0", "libmtmd.dylib")
    (info / "RECORD").write_text(
        "llama_cpp/__init__.py,sha256=x,1\n"
        + "".join(f"llama_cpp/lib/{name},sha256={digest},7\n" for name in names)
    )
    for name, content in zip(names[1:], (b"lib", b"library", b"LIBRARY"), strict=True):
        (folder / name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    damaged = [
        "llama_cpp/lib/libggml.so is missing",
        "llama_cpp/lib/libggml-cpu.so.0 has 3 bytes instead of 7",
        "llama_cpp/lib/libmtmd.dylib has changed",
    ]
    assert llama.damaged_libraries() == damaged
    assert llama.damaged_libraries(fast=True) == damaged[:2]
    findings = llama.check_llama(build("avx2"), damaged, [], "rebuild")
    assert [(f.level, f.fix) for f in findings] == [("error", "rebuild")] * 3


def test_a_build_that_does_not_suit_the_cpu_is_a_finding() -> None:
    """With the command that builds it again, and the name of the CPU where it has one."""
    [finding] = llama.check_llama(build("neon", "dotprod"), [], cpu("pi4-4gb"), "rebuild")
    assert (finding.level, finding.fix) == ("error", "rebuild")
    assert "(Cortex-A72) lacks it" in finding.text
    [finding] = llama.check_llama(build("neon"), [], cpu("pi5-8gb"), "rebuild")
    assert (finding.level, finding.fix) == ("warning", "rebuild")


def test_the_variant_that_runs_is_named() -> None:
    """A package for any machine has several."""
    chosen = msgspec.structs.replace(build("neon", "dotprod", "fp16"), variant="armv8.2_2")
    [finding] = llama.check_llama(chosen, [], cpu("pi5-8gb"), "rebuild")
    assert (finding.level, finding.text) == ("ok", "0.3.36, variant armv8.2_2: neon dotprod fp16")


def test_the_rebuild_is_for_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """scripts/setup for a checkout's own, pip for any other."""
    monkeypatch.setattr("sys.prefix", str(rebuild.ROOT / ".venv"))
    assert rebuild.rebuild_command().endswith("&& scripts/setup")
    monkeypatch.setattr("sys.prefix", "/opt/venv")
    assert "-DGGML_NATIVE=ON" in rebuild.rebuild_command()
    assert rebuild.rebuild_command().endswith("--no-binary llama-cpp-python llama-cpp-python")
