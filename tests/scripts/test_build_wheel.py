"""What scripts/build-wheel refuses, and how many compilers it runs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

on_x86 = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="another machine has its own wheel"
)


def build_wheel(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/build-wheel", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--target", "riscv64"], "unknown target riscv64"),
        (["--target"], "--target needs a value"),
        (["--kinds", "haswell"], "--kinds needs --target x86_64 or aarch64"),
        (["--fast"], "unknown argument --fast"),
    ],
)
def test_what_it_cannot_do_is_said(arguments: list[str], error: str) -> None:
    done = build_wheel(*arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"error: {error}\nhint: scripts/build-wheel ")


@on_x86
def test_a_missing_cross_compiler_is_named_with_its_package(tmp_path: Path) -> None:
    (tmp_path / "apt-get").touch(0o755)
    for name in ("bash", "sed", "uname", "dirname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = build_wheel("--target", "aarch64", PATH=str(tmp_path))
    assert 1 == done.returncode
    assert (
        "error: no working C and C++ compiler (aarch64-linux-gnu-gcc, aarch64-linux-gnu-g++)" in done.stderr
    )
    assert "hint: sudo apt install g++-aarch64-linux-gnu" in done.stderr


@on_x86
def test_a_compiler_for_another_machine_is_refused() -> None:
    done = build_wheel("--target", "aarch64", CC="cc", CXX="c++")
    assert 1 == done.returncode
    assert "c++ compiles for x86_64-linux-gnu, not for aarch64" in done.stderr


@pytest.mark.parametrize(
    ("available", "swaps", "jobs", "told"),
    [
        (7_500, "", 4, ""),
        (1_500, "", 2, "note: 1500 MB of memory are free: 2 of 4 cores compile at a time\n"),
        (1_500, "/dev/zram0 partition 2097148 0 100\n", 3, "note: 2523 MB of memory are free: 3 of 4"),
        (1_500, "/var/swap file 2097148 0 -2\n", 2, "note: 1500 MB"),
        (750, "", 1, "note: 750 MB of memory are free: 1 of 4"),
        (400, "/var/swap file 102396 0 -2\n", 1, "may take hours\nhint: a wheel from another machine"),
    ],
    ids=["8 GB", "2 GB", "2 GB with zram", "2 GB with a swap file", "1 GB", "512 MB"],
)
def test_as_many_compilers_run_as_fit_into_the_free_memory(
    tmp_path: Path, available: int, swaps: str, jobs: int, told: str
) -> None:
    """Of a board with four cores. Swap on an SD card is no memory; zram is, for half its size."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable: {available << 10} kB\n")
    (tmp_path / "swaps").write_text(f"Filename Type Size Used Priority\n{swaps}")
    scripts = ROOT / "scripts/common"
    text = f"nproc() {{ echo 4; }}; source {scripts}/messages.sh; source {scripts}/machine.sh; choose_jobs; echo $jobs"
    done = subprocess.run(
        ["bash", "-euc", text],
        env={"PATH": os.environ["PATH"], "PROC": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{jobs}\n" == done.stdout
    assert told in done.stderr
    assert bool(told) == bool(done.stderr)
