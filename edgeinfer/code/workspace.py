"""The folder that the assistant works in, and which files it may see there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from edgeinfer.code.beneath import FILE, read_beneath, read_file
from edgeinfer.code.git import Git, find_git
from edgeinfer.code.text_file import TextFile, text_file
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError

MAX_FILE = 1_000_000
"""Bytes of a file that is read. Larger ones are data, or written by a program."""


class Workspace:
    """Finds and reads the files of a project: those of its git repository, or of the current folder.

    Files have names relative to the root. What .gitignore hides is not there, and neither is what belongs to another
    repository, in a folder of this one: git does not show it, and so nobody would see what has changed there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.git: Git | None = find_git(self.folder)
        self.root = self.git.root if self.git else self.folder

    def files(self) -> list[str]:
        """Return the names of all files; none if git, which knows what is ignored, is not installed."""
        if self.git is None:
            return []
        names = [name for name in self.git.files() if is_plain(name)]
        folders = {PurePosixPath(name.rpartition("/")[0]) for name in names}
        above = {above for folder in folders for above in folder.parents}
        others = tuple(f"{folder}/" for folder in folders | above if self._is_repository(folder))
        return [name for name in names if not name.startswith(others)]

    def _is_repository(self, folder: PurePosixPath) -> bool:
        """Tell whether a folder below the root has a repository of its own."""
        return folder != PurePosixPath(".") and os.path.lexists(self.root / folder / ".git")

    def is_outside(self, path: str) -> bool:
        """Tell whether a path leads out of the workspace, by itself or by a link."""
        return not self.real(path).is_relative_to(self.root)

    def name(self, path: str, *, new: bool = False) -> str:
        """Return the name of the file at a path that is meant from the current folder.

        Args:
            new: it need not exist.

        Raises:
            EdgeinferError: it is outside, hidden by .gitignore, in another repository, a part of git's own folder, or
                does not exist.
        """
        real = self.real(path)
        if not real.is_relative_to(self.root):
            raise EdgeinferError(f"{visible(path)} is outside of {self.root}")
        name = real.relative_to(self.root).as_posix()
        shown = visible(name)
        if any(part.lower() == ".git" for part in Path(name).parts):
            raise EdgeinferError(f"{shown} belongs to git")
        if not is_plain(name):
            raise EdgeinferError(f"the name {shown} has control characters", hint="rename the file")
        if other := next(filter(self._is_repository, PurePosixPath(name).parents), None):
            raise EdgeinferError(
                f"{shown} belongs to another repository, the one in {visible(str(other))}",
                hint=f"change to that folder: cd {visible(str(self.root / other))}",
            )
        if not os.path.lexists(real):
            if not new:
                raise EdgeinferError(f"no such file: {shown}")
            if self.git and self.git.hides(name):
                raise _hidden(shown)
        elif real.is_dir():
            raise EdgeinferError(f"{shown} is a folder", hint="name the files in it")
        elif not real.is_file():  # git does not list it, as if it were hidden
            raise EdgeinferError(f"{shown} is not a regular file")
        elif self.git and not self.git.shows(name):
            raise _hidden(shown)
        return name

    def name_from_root(self, path: str, *, new: bool = False) -> str:
        """Return the name of a file that a model has written, which is meant from the root."""
        if os.path.isabs(path):  # noqa: PTH117
            raise EdgeinferError(f"{visible(path)} is not a name within the project")
        return self.name(str(self.root / path), new=new)

    def read(self, name: str) -> TextFile:
        """Read a file by its name. Raises EdgeinferError if it is binary, large or no regular file."""
        try:
            data, _ = read_beneath(self.root, name, MAX_FILE)
        except OSError as e:
            raise EdgeinferError(f"{visible(name)}: {e.strerror}") from e
        return text_file(name, data)

    def read_outside(self, path: str) -> TextFile:
        """Read a file outside, which the user has allowed. Raises EdgeinferError as `read` does."""
        real = self.real(path)
        try:
            data, _ = read_file(os.open(real, FILE), visible(path), MAX_FILE)
        except OSError as e:
            raise EdgeinferError(f"{visible(path)}: {e.strerror}") from e
        return text_file(str(real), data)

    def real(self, path: str) -> Path:
        """Return where a path that is meant from the current folder leads. Raises EdgeinferError."""
        if "\0" in path:
            raise EdgeinferError("a file's name has no zero byte")
        try:
            return Path(os.path.realpath(self.folder / Path(path).expanduser()))
        except RuntimeError as e:
            raise EdgeinferError(
                f"{visible(path)}: there is no such user", hint=f"a file of this folder: ./{visible(path)}"
            ) from e


def is_plain(name: str) -> bool:
    """Tell whether a name can be shown and sent as it is."""
    return visible(name) == name and "\n" not in name and "\t" not in name and not name.endswith("/")


def _hidden(name: str) -> EdgeinferError:
    return EdgeinferError(f"{name} is hidden by .gitignore", hint=f"git check-ignore -v {name}")
