"""A process of ours is never made of modules that lie in the current folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgeinfer.ipc.module_command import module_command

TRAP = "raise SystemExit('caught')\n"


def test_a_module_of_the_current_folder_is_not_run(tmp_path: Path) -> None:
    """Which `python -m` would do."""
    for name in ("edgeinfer", "runpy", "msgspec", "json"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    trapped = subprocess.run([sys.executable, "-m", "json"], cwd=tmp_path, capture_output=True, check=False)
    assert b"caught" in trapped.stderr
    done = subprocess.run(
        module_command("edgeinfer", "--version"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("edgeinfer ")
