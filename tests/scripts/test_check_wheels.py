"""Nothing that edgeinfer needs is compiled on a board, whichever Python it has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow  # it asks the package index


def check_wheels(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / "check-wheels", *arguments], capture_output=True, text=True, check=False
    )


def test_each_pinned_package_has_wheels_for_every_system_and_python() -> None:
    """Nobody needs a compiler for Rust or Fortran."""
    done = check_wheels()
    assert (0, "") == (done.returncode, done.stdout), done.stderr


def test_a_package_without_wheels_is_named_with_the_python_and_the_system(tmp_path: Path) -> None:
    """docopt has only sources."""
    pins = tmp_path / "pins.txt"
    pins.write_text("docopt==0.6.2\n")
    done = check_wheels(str(pins))
    assert done.returncode == 1
    assert "Python 3.14 on aarch64-manylinux_2_31" in done.stderr
    assert "docopt==0.6.2 has no usable wheels" in done.stderr
