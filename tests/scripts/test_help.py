"""`--help` of the scripts: it says what they do, and does nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SHELL = [
    path
    for path in sorted((ROOT / "scripts").iterdir())
    if path.is_file() and b"bash" in path.read_bytes()[:20]
]


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("name", [path.name for path in SHELL if path.name != "chaos"])
def test_help_is_the_scripts_first_comment(tmp_path: Path, name: str, option: str) -> None:
    """Also from its own folder. In a copy without the other scripts, anything else would fail."""
    copy = tmp_path / "scripts" / name
    copy.parent.mkdir()
    shutil.copy(ROOT / "scripts" / name, copy)
    done = subprocess.run([f"./{name}", option], cwd=copy.parent, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    first = copy.read_text().splitlines()[1].removeprefix("# ")
    assert done.stdout.startswith(first)
    assert [copy] == [path for path in tmp_path.rglob("*") if path.is_file()]
