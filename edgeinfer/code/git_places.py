"""Finds what tells git which programs to start, so that a command cannot change that, or not unseen.

What it wrote there would be started later, outside of its sandbox, by the user's next `git status` or commit.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edgeinfer.code.git import git_environment

MAX_FOLDERS = 50_000
"""Folders of a project that are searched, the nearest to its root first."""

MAX_REPOSITORIES = 50
"""Repositories that are asked for their settings."""

MAX_POINTER = 4096
TIMEOUT = 10.0

MARKED = ("config", "config.worktree", "commondir", "gitdir", "attributes")
"""Files of a repository, beside its hooks, that decide what is started."""

DATA = ("objects", "refs", "logs", "lfs")
"""Folders of a repository that decide nothing."""

RULES = (".gitattributes", ".gitmodules")

NAMES_PROGRAM = re.compile(
    r"alias\..*|.*\.(askpass|clean|cmd|command|driver|editor|external|fsmonitor|helper|pager|process|program"
    r"|smudge|sshcommand|textconv)",
    re.I | re.S,
)
"""Settings whose value is a command line."""

Mark = tuple[int, int, int, int]


class GitPlaces(msgspec.Struct, frozen=True):
    """What tells git in a project which programs to start: repositories' folders, settings and hooks.

    Attributes:
        protected: the absolute paths that a command must not change, none of them in another one.
        marks: what changes with each file that counts, by its path from the project's root.
        complete: all folders were searched.
    """

    protected: tuple[str, ...]
    marks: dict[str, Mark]
    complete: bool = True

    def changed_since(self, earlier: GitPlaces) -> list[str]:
        """Return the paths of what is new, or has changed."""
        return sorted(path for path, mark in self.marks.items() if earlier.marks.get(path) != mark)


def find_git_places(root: Path) -> GitPlaces:
    """Search a project for repositories, also those in its folders, and for what they refer to."""
    root = root.resolve()
    search = _Search(root)
    search.run()
    places = set(search.repositories)
    for repository in search.repositories:
        places.update(_referred(repository))
    with contextlib.suppress(subprocess.TimeoutExpired):
        for repository in search.repositories[:MAX_REPOSITORIES]:
            has_work_tree = repository.name.lower() == ".git"
            places.update(_configured(repository.parent if has_work_tree else repository))
    inside = {place for place in places if place.is_relative_to(root) and place != root}
    marks = {os.path.relpath(path, root): mark for path, mark in _marks([*inside, *search.rules])}
    protected = tuple(sorted(str(place) for place in inside if _is_outermost(place, inside)))
    return GitPlaces(protected, marks, search.complete)


class _Search:
    """One walk through the folders of a project, which follows no links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.repositories: list[Path] = []
        self.rules: list[Path] = []
        self.complete = True

    def run(self) -> None:
        waiting = deque([str(self._root)])
        searched = 0
        while waiting:
            if (searched := searched + 1) > MAX_FOLDERS:
                self.complete = False
                return
            waiting.extend(self._inner(waiting.popleft()))

    def _inner(self, folder: str) -> list[str]:
        """Look at what is in a folder, and return the folders among it that are to be searched."""
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            entries = list(found)
            if folder != str(self._root) and _is_bare({entry.name for entry in entries}):
                self.repositories.append(Path(folder))
                return []
            for entry in entries:
                if entry.name.lower() == ".git":
                    self.repositories.append(Path(entry.path))
                elif entry.name in RULES:
                    self.rules.append(Path(entry.path))
            return [
                entry.path
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and entry.name.lower() != ".git"
            ]
        return []


def _is_bare(names: set[str]) -> bool:
    """Tell whether git would take a folder with these entries for a repository without a work tree."""
    return {"HEAD", "objects", "refs"} <= names


def _referred(repository: Path) -> Iterator[Path]:
    """Yield where a `.git` that is a link, or a file that names a folder, leads to."""
    if repository.is_symlink():
        yield repository.resolve()
    data = repository
    if pointer := _first_line(repository).removeprefix("gitdir:").strip():
        data = (repository.parent / pointer).resolve()
        yield data
    if common := _first_line(data / "commondir"):
        yield (data / common).resolve()


def _first_line(path: Path) -> str:
    """Return the first line of a small regular file, else nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.fsdecode(os.read(descriptor, MAX_POINTER)) if is_regular else ""
    finally:
        os.close(descriptor)
    return text.split("\n")[0].strip().replace("\0", "")


def _configured(folder: Path) -> Iterator[Path]:
    """Yield the files that a repository's settings are in, and the programs and hooks in its work tree that they name."""
    try:
        done = subprocess.run(
            ["git", "config", "--list", "--show-origin", "-z"],
            cwd=folder,
            env=git_environment({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except OSError:
        return
    fields = os.fsdecode(done.stdout).split("\0")
    for origin, setting in zip(fields[::2], fields[1::2], strict=False):
        name, _, value = setting.partition("\n")
        if origin.startswith("file:"):
            yield from _existing(folder, origin.removeprefix("file:"))
        if name.lower() == "core.hookspath":
            yield from _existing(folder, value)
        elif NAMES_PROGRAM.fullmatch(name):
            for word in value.lstrip("!").split():
                yield from (path for path in _existing(folder, word) if path.is_file())


def _existing(folder: Path, name: str) -> Iterator[Path]:
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # "~nobody", or too long
        path = (folder / Path(name).expanduser()).resolve()
        if path.exists():
            yield path


def _is_outermost(place: Path, places: set[Path]) -> bool:
    return not place.is_symlink() and places.isdisjoint(place.parents)


def _marks(places: Iterable[Path]) -> Iterator[tuple[str, Mark]]:
    for place in places:
        status = _status(place)
        if status is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield str(place), _mark(status)
            continue
        yield str(place), (stat.S_IFDIR, status.st_ino, 0, 0)
        is_repository = place.name.lower() == ".git" or (place / "HEAD").exists()
        for folder, inner, files in os.walk(place):
            if "HEAD" in files:
                inner[:] = [name for name in inner if name not in DATA]
            hooks = not is_repository or "hooks" in Path(folder).relative_to(place).parts
            links = [name for name in inner if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114
            for name in (*files, *links):
                if (hooks or name in MARKED) and (found := _status(Path(folder, name))):
                    yield f"{folder}/{name}", _mark(found)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _mark(status: os.stat_result) -> Mark:
    """Return what no program can keep as it was while it changes a file."""
    return status.st_mode, status.st_ino, status.st_size, status.st_ctime_ns
