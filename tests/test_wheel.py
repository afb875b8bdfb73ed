"""The wheel holds what an installation needs, beside the modules."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize(
    "name",
    [
        "edgeinfer/py.typed",
        "edgeinfer/bundled/edgeinfer-nano.gguf",
        "edgeinfer/data/models.toml",
        *(
            f"edgeinfer/data/systemd/{p.relative_to(ROOT / 'systemd')}"
            for p in sorted((ROOT / "systemd").rglob("*.*"))
        ),
    ],
)
def test_the_wheel_has(name: str, names: set[str]) -> None:
    assert name in names


def test_the_wheel_has_every_module_and_no_test(names: set[str]) -> None:
    """What stands in the package, and nothing beside it."""
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "edgeinfer").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_licence_goes_along(names: set[str]) -> None:
    assert [name for name in names if Path(name).name == "LICENSE"]
