"""scripts/wheelhouse: what it takes for which machine, without downloading anything."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import packaging
import pytest

from tests.support.paths import ROOT
from tests.support.wheels import make_wheel

sys.path.insert(0, str(ROOT / "scripts/offline"))  # whose modules import one another by bare names

from pins import PYTHONS, TARGETS, Target, base_pins, build_pins, read_pins
from wheelhouse import add_llama, find_wheel, put

LOCK = """\
# a comment
plain==1.0 \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
Old.Python==2.0 ; python_full_version < '3.11' \\
    --hash=sha256:{0}
arm-only==3.0 ; platform_machine == 'aarch64' and sys_platform != 'win32' \\
    --hash=sha256:{0}
llama-cpp-python==0.3.36 \\
    --hash=sha256:{0}
""".format("a" * 64, "b" * 64)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target("aarch64", "3.10"), ["plain", "old-python", "arm-only"]),
        (Target("aarch64", "3.12"), ["plain", "arm-only"]),
        (Target("x86_64", "3.10"), ["plain", "old-python"]),
        (Target("x86_64", "3.14"), ["plain"]),
    ],
)
def test_conditions_are_judged_for_the_other_machine(target: Target, expected: list[str]) -> None:
    """pip would judge them by the machine and the Python that it runs on."""
    pins = list(read_pins(LOCK, target))
    assert expected == [pin.name for pin in pins]
    assert f"plain==1.0 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}" == pins[0].line


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("python", PYTHONS)
def test_everything_that_is_pinned_has_one_version_and_hashes(machine: str, python: str) -> None:
    pins = base_pins(Target(machine, python))
    assert len(pins) == len({pin.name for pin in pins}) > 40
    assert [] == [pin.name for pin in pins if not pin.hashes]
    tools = {pin.name for pin in build_pins(Target(machine, python))}
    assert tools >= {"pip", "hatchling", "editables"}
    assert "cmake" not in tools


def test_a_wheel_counts_if_it_runs_there_and_has_the_hash(tmp_path: Path) -> None:
    """Of another machine, another Python, a newer glibc or other content, it is downloaded again."""
    target = Target("aarch64", "3.11")
    [pin] = read_pins("some==1.0", target)
    for tag in ("cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_17_aarch64"):
        make_wheel(tmp_path, "some", tag=tag)
    make_wheel(tmp_path, "some", tag="cp311-cp311-manylinux_2_35_aarch64")
    make_wheel(tmp_path, "some", "2.0")
    (tmp_path / "nonsense.whl").touch()
    assert find_wheel(tmp_path, pin, target) is None
    wheel = make_wheel(tmp_path, "some", tag="cp39-abi3-manylinux_2_28_aarch64")
    assert wheel.name == find_wheel(tmp_path, pin, target)
    assert find_wheel(tmp_path, pin._replace(hashes=("0" * 64,)), target) is None


def test_a_wheel_of_ours_replaces_older_ones_for_the_same_machines(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    kept = make_wheel(folder, "llama_cpp_python", "0.3.1", "py3-none-manylinux_2_28_x86_64")
    make_wheel(folder, "llama_cpp_python", "0.3.1", "py3-none-manylinux_2_28_aarch64")
    make_wheel(folder, "llama_cpp_python", "0.3.1", "py3-none-linux_aarch64")
    new = make_wheel(tmp_path, "llama_cpp_python", "0.3.2", "py3-none-manylinux_2_31_aarch64")
    assert new.name == put(new, folder)
    assert {kept.name, new.name} == {path.name for path in folder.iterdir()}


def test_a_llama_cpp_for_every_cpu_is_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where scripts/build-wheel keeps what it has built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    machine = platform.machine()
    build = [f"{ROOT}/scripts/build-wheel", "--target", machine, "--key"]
    key = subprocess.check_output(build, text=True).strip()
    wheel = make_wheel(
        tmp_path / "edgeinfer/wheels" / key,
        "llama_cpp_python",
        "0.3.36",
        f"py3-none-manylinux_2_31_{machine}",
    )
    assert wheel.name == add_llama(tmp_path, machine, None)
    assert wheel.read_bytes() == (tmp_path / wheel.name).read_bytes()


@pytest.mark.parametrize("script", ["wheelhouse", "bundle"])
def test_a_llama_cpp_for_another_machine_is_refused(tmp_path: Path, script: str) -> None:
    wheel = make_wheel(tmp_path, "llama_cpp_python", "0.3.36", "py3-none-manylinux_2_31_aarch64")
    folder = "--output" if script == "wheelhouse" else "--wheels"
    command: list[str | Path] = [
        f"{ROOT}/scripts/{script}",
        "--target",
        "x86_64",
        "--llama",
        wheel,
        folder,
        tmp_path / "out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (1, f"error: {wheel.name} is not for x86_64\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize("script", ["wheelhouse", "bundle"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, script: str) -> None:
    (tmp_path / "file").touch()
    folder = "--output" if script == "wheelhouse" else "--wheels"
    command = [f"{ROOT}/scripts/{script}", folder, f"{tmp_path}/file/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (1, f"error: {tmp_path}/file/out: Not a directory\n") == (done.returncode, done.stderr)


def test_a_bundle_for_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    command = [f"{ROOT}/scripts/bundle", "--output", f"{tmp_path}/nowhere/b.tar", "--wheels", f"{tmp_path}/w"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (1, True) == (done.returncode, f"there is no folder {tmp_path}/nowhere" in done.stderr)
    assert not (tmp_path / "w").exists()


def test_it_needs_nothing_but_packaging(tmp_path: Path) -> None:
    """It runs where nothing else is installed, as in the image's build."""
    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    folders = [str(tmp_path), str(ROOT / "scripts/offline"), str(ROOT)]
    code = f"import sys; sys.path[:0] = {folders}; import wheelhouse"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
