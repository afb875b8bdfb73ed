"""Which build of llama.cpp `scripts/setup` and `scripts/build-wheel` look for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("c++"), reason="no compiler to ask for its version")


def key(folder: Path) -> str:
    """Return the name of the build for this machine, without a Python at hand."""
    done = subprocess.run(
        [ROOT / "scripts/build-wheel", "--key"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": "/no/python", "XDG_CACHE_HOME": str(folder / "cache")},
        check=True,
    )
    return done.stdout.strip()


def test_a_build_serves_every_python(tmp_path: Path) -> None:
    """Its wheel is for all of Python 3: a newer Python on the machine builds nothing."""
    name = key(tmp_path)
    assert "cp3" not in name
    assert name == key(tmp_path)


def test_a_build_made_under_its_old_name_is_kept(tmp_path: Path) -> None:
    """An upgrade of edgeinfer does not cost eight minutes for a name."""
    version, _, digest = key(tmp_path).partition("-")
    old = tmp_path / f"cache/edgeinfer/wheels/{version}-cp311-{digest}"
    old.mkdir(parents=True)
    (old.parent / f"{version}-cp311-0000000000000000").mkdir()
    assert old.name == key(tmp_path)
    (old.parent / f"{version}-{digest}").mkdir()
    assert f"{version}-{digest}" == key(tmp_path)
