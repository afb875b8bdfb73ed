"""`edgeinfer mirror` with a folder of wheels: what it says, and that the commands it prints work."""

from __future__ import annotations

import platform
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import EDGEINFER, environment, run
from tests.support.wheels import make_wheel, pip


@contextmanager
def mirror(home: Path, *options: str | Path) -> Iterator[list[str]]:
    """Run the command; -> the lines that it greets with."""
    with subprocess.Popen(
        [*EDGEINFER, "mirror", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, XDG_CACHE_HOME=str(home / "cache")),
    ) as server:
        killer = threading.Timer(100, server.kill)
        killer.start()
        assert server.stderr
        lines: list[str] = []
        while "or without the repository" not in (lines or [""])[-1]:
            line = server.stderr.readline()
            assert line, lines
            lines.append(line.rstrip())
        try:
            yield lines
        finally:
            server.terminate()
            killer.cancel()


@pytest.mark.slow
def test_the_printed_command_installs_edgeinfer(tmp_path: Path) -> None:
    """From the folder that scripts/wheelhouse fills, without naming it."""
    folder = tmp_path / "cache/edgeinfer/wheelhouse"
    make_wheel(folder, "edgeinfer", requires=["llama_cpp_python"])
    make_wheel(folder, "llama_cpp_python", "0.3.36", f"py3-none-manylinux_2_17_{platform.machine()}")
    native = make_wheel(folder, "llama_cpp_python", "0.3.37", f"py3-none-linux_{platform.machine()}")
    with mirror(tmp_path) as lines:
        assert any(line.startswith("wheels for pip: 2, ") and str(folder) in line for line in lines)
        assert f"  left out: {native.name}: it was built for one machine's CPU" in lines
        command = shlex.split(lines[-1].partition(": ")[2])
        assert "scripts/setup --wheelhouse http://127.0.0.1:" in lines[-2]
        target = tmp_path / "installed"
        done = pip(*command[1:], "--target", target)
    assert done.returncode == 0, done.stderr
    assert {"edgeinfer-1.0.dist-info", "llama_cpp_python-0.3.36.dist-info"} == {
        path.name for path in target.glob("*.dist-info")
    }


@pytest.mark.slow
def test_boards_with_the_same_cpu_may_have_a_native_build(tmp_path: Path) -> None:
    """If whoever starts the mirror says that they have."""
    make_wheel(tmp_path / "wheels", "edgeinfer")
    make_wheel(tmp_path / "wheels", "llama_cpp_python", "0.3.36", f"py3-none-linux_{platform.machine()}")
    with mirror(tmp_path, "--wheels", tmp_path / "wheels", "--same-cpu") as lines:
        assert not [line for line in lines if "left out" in line]
        assert any(line.startswith("wheels for pip: 2, ") for line in lines)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, "mirror", "--port", "0", "--wheels", str(tmp_path / "nowhere"))
    assert 0 != done.returncode
    assert f"no such folder: {tmp_path / 'nowhere'}" in done.stderr
    assert "scripts/wheelhouse" in done.stderr
