"""The git hook that proposes a message for each commit, beside whatever hook is there already."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from edgeinfer.code.visible import visible
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError

NAME = "prepare-commit-msg"
KEPT = f"{NAME}.before-edgeinfer"
MARK = "# Written by `edgeinfer code hook install`; `edgeinfer code hook uninstall` removes it."

HOOK = """\
#!/bin/sh
{mark}
hooks=$(dirname "$0")
if [ -x "$hooks/{kept}" ]; then "$hooks/{kept}" "$@" || exit; fi
# Only for a commit whose message is still to be written: not with -m, for a merge or an amendment.
[ -n "$2" ] && exit 0
message=$({program} code commit --print --if-running 2>/dev/null) || exit 0
[ -n "$message" ] || exit 0
{{ printf '%s\\n' "$message"; cat "$1"; }} >"$1.edgeinfer" && mv -f "$1.edgeinfer" "$1"
"""


class CommitHook:
    """One repository's hook."""

    def __init__(self, workspace: Workspace) -> None:
        if workspace.git is None or not workspace.git.is_repository:
            raise EdgeinferError(f"{workspace.root} is not in a git repository", hint="git init")
        folder = workspace.git.hooks_folder()
        self.path, self.kept = folder / NAME, folder / KEPT
        self._data = workspace.git.data_folder()
        self._root = workspace.root

    def warning(self) -> str:
        """Say who else would have the hook; nothing if the folder of hooks is the repository's own."""
        folder = self.path.parent.resolve()
        if folder.is_relative_to(self._data.resolve()):
            return ""
        if folder.is_relative_to(self._root):
            return f"Git's hooks are in {visible(str(folder))} here: whoever gets that folder with git gets the hook too."
        return f"Git's hooks are in {visible(str(folder))} here: every repository that uses that folder gets the hook."

    def install(self, program: str) -> Path:
        """Write the hook, and have it run the one that was there first. Returns its path."""
        if self._is_ours():
            raise EdgeinferError(f"the hook is installed already: {self.path}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(self.path):
            if os.path.lexists(self.kept):
                raise EdgeinferError(f"{self.kept} is in the way", hint="look what it is, and move it away")
            self.path.rename(self.kept)
        self.path.write_text(HOOK.format(mark=MARK, kept=KEPT, program=shlex.quote(program)))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return self.path

    def uninstall(self) -> Path:
        """Remove the hook, and put back the one that was there. Returns its path."""
        if not self._is_ours():
            raise EdgeinferError(f"there is no hook of edgeinfer's: {self.path}")
        self.path.unlink()
        if os.path.lexists(self.kept):
            self.kept.rename(self.path)
        return self.path

    def _is_ours(self) -> bool:
        try:
            return MARK in self.path.read_text(errors="replace")
        except OSError:
            return False
