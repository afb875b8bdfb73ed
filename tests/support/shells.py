"""Interactive shells that read no files of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.debian_programs import find_folder, find_program, libraries


def zsh() -> tuple[list[str], str]:
    """Return the command that starts zsh, and what it must be told first."""
    if installed := shutil.which("zsh"):
        return [installed, "-fi"], ""
    folder = find_folder("zsh")
    (modules,) = (folder / "usr/lib").glob("*/zsh/*")
    functions = folder / "usr/share/zsh/functions"
    return [
        str(find_program("zsh")),
        "-fi",
    ], f"module_path=({modules}); fpath=({functions} {functions}/**/*(/))"


def fish() -> tuple[list[str], dict[str, str]]:
    """Return the command that starts fish, and the variables that it needs."""
    if installed := shutil.which("fish"):
        return [installed, "--no-config"], {}
    beside = find_folder("fish") / "usr/etc"
    if not beside.exists():
        beside.symlink_to(Path("../etc"))  # or fish looks for its own files in /usr
    return [str(find_program("fish")), "--no-config"], {
        "LD_LIBRARY_PATH": libraries("fish")["LD_LIBRARY_PATH"]
    }
