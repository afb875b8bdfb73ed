"""Reads a git repository without running anything that the repository brings along.

A repository's configuration may name programs: a file system monitor, filters, external diffs, hooks. None is started.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgeinfer.errors import EdgeinferError

MAX_OUTPUT = 16 << 20
"""Bytes that are read from git: the names of some hundred thousand files, or a very large diff."""

TIMEOUT = 30.0
"""Seconds; a folder that takes longer is not a project."""

INHERITED = ("HOME", "XDG_CONFIG_HOME", "LANG", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "USER", "TMPDIR")

HARMLESS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.quotePath": "false",
}
"""Settings that take precedence over the repository's."""

SUBMODULE = b"160000"
"""The mode of what is tracked if that is a commit of another repository."""

RUNS_A_PROGRAM = re.compile(r"filter\..*\.(clean|smudge|process)\Z", re.I | re.S)

ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what is missing by a program of its choice
}

DIFF = (
    "diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip


class Git:
    """Runs git in one folder, which a repository need not be."""

    def __init__(self, root: Path, *, is_repository: bool) -> None:
        self.root = root
        self.is_repository = is_repository
        self._overrides = dict(HARMLESS)
        if is_repository:
            names = os.fsdecode(self._run("config", "--list", "--name-only", "-z")).split("\0")
            for name in filter(RUNS_A_PROGRAM.match, names):
                self._overrides |= {name: "", f"{name.rpartition('.')[0]}.required": "false"}

    def files(self) -> list[str]:
        """Return the files that git tracks, or would: those that .gitignore does not hide."""
        return sorted(self._listed())

    def shows(self, name: str) -> bool:
        """Tell whether git tracks the file, or would if it were added."""
        return name in self._listed(name)

    def hides(self, name: str) -> bool:
        """Tell whether a file of that name, which need not exist, would be ignored."""
        with self._repository() as options:
            return self._succeeds(*options, "check-ignore", "--quiet", "--", name)

    def diff(self, *what: str, paths: Sequence[str] = ()) -> str:
        """Return a diff: `--cached`, or revisions. Raises EdgeinferError with what git says of them."""
        self._need_repository()
        output = self._run("--literal-pathspecs", *DIFF, *what, "--", *paths)
        return output.decode("utf-8", "replace")

    def has_commits(self) -> bool:
        """Tell whether there is something to compare with."""
        return self._succeeds("rev-parse", "--quiet", "--verify", "HEAD")

    def hooks_folder(self) -> Path:
        """Return where the repository's hooks are, by the user's own configuration too."""
        self._need_repository()
        self._overrides.pop("core.hooksPath", None)
        return self.root / os.fsdecode(self._run("rev-parse", "--git-path", "hooks")).rstrip("\n")

    def data_folder(self) -> Path:
        """Return where the repository's own data are, which its work trees share."""
        self._need_repository()
        return self.root / os.fsdecode(self._run("rev-parse", "--git-common-dir")).rstrip("\n")

    def _need_repository(self) -> None:
        if not self.is_repository:
            raise EdgeinferError(f"{self.root} is not in a git repository", hint="git init")

    def _listed(self, *names: str) -> set[str]:
        with self._repository() as options:
            listing = ("--literal-pathspecs", *options, "ls-files", "-z")
            new = self._run(*listing, "--others", "--exclude-standard", "--", *names).split(b"\0")
            tracked = self._run(*listing, "--stage", "--", *names) if self.is_repository else b""
        entries = (entry.partition(b"\t") for entry in tracked.split(b"\0"))
        new += [name for facts, _, name in entries if not facts.startswith(SUBMODULE)]
        return {os.fsdecode(name) for name in new if name}

    def _repository(self) -> _EmptyRepository:
        return _EmptyRepository(None if self.is_repository else self.root)

    def _succeeds(self, *arguments: str) -> bool:
        """Tell whether git says yes, which is 0, or no, which is 1."""
        done = _git(arguments, self.root, self._overrides)
        if done.returncode > 1:
            raise _failure(arguments, done.stderr)
        return done.returncode == 0

    def _run(self, *arguments: str) -> bytes:
        done = _git(arguments, self.root, self._overrides)
        if done.returncode:
            raise _failure(arguments, done.stderr)
        if len(done.stdout) > MAX_OUTPUT:
            raise EdgeinferError(
                f"git {_command(arguments)} says more than {MAX_OUTPUT >> 20} MB",
                hint="name the files that matter",
            )
        return done.stdout


class _EmptyRepository:
    """Gives git a repository without content for the time of the block, so that it reads .gitignore files."""

    def __init__(self, work_tree: Path | None) -> None:
        self._work_tree = work_tree
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> tuple[str, ...]:
        if self._work_tree is None:
            return ()
        self._folder = tempfile.TemporaryDirectory(prefix="edgeinfer-")
        command = ["git", "init", "--quiet", "--bare", "--template=", self._folder.name]
        subprocess.run(command, env=git_environment(HARMLESS), check=True, capture_output=True)
        return (f"--git-dir={self._folder.name}", f"--work-tree={self._work_tree}")

    def __exit__(self, *_: object) -> None:
        if self._folder:
            self._folder.cleanup()


def find_git(folder: Path) -> Git | None:
    """Return git for the repository around `folder`, else for `folder`; None if git is not installed.

    Raises:
        EdgeinferError: git refuses the repository, for one that belongs to another user.
    """
    if shutil.which("git", path=search_path()) is None:
        return None
    for root in (folder, *folder.parents):
        if os.path.lexists(root / ".git") and (top := _top_level(root)):
            if top.resolve() != root:
                # Its configuration says that the work tree is elsewhere, where nobody has asked us to look.
                raise EdgeinferError(
                    f"the repository in {root} has its files elsewhere, in {top}",
                    hint=f"change to that folder: cd {top}",
                )
            return Git(root, is_repository=True)
    return Git(folder, is_repository=False)


def _top_level(root: Path) -> Path | None:
    """Return where the repository of this very folder has its files; None if it is none."""
    done = _git(
        ["rev-parse", "--show-toplevel"], root, HARMLESS, GIT_CEILING_DIRECTORIES=str(root.parent), LC_ALL="C"
    )
    if done.returncode == 0:
        return Path(os.fsdecode(done.stdout).rstrip("\n"))
    error = done.stderr.decode("utf-8", "replace").strip()
    if "not a git repository" in error:
        return None
    raise EdgeinferError(f"git does not accept the repository in {root}: {' '.join(error.split())}")


def search_path() -> str:
    """Return PATH without the current folder, where a project could have a git of its own."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if os.path.isabs(folder))  # noqa: PTH117


def git_environment(config: Mapping[str, str]) -> dict[str, str]:
    """Return what git is told: little of the user's environment, and settings that take precedence over all others."""
    inherited = {name: value for name in INHERITED if (value := os.environ.get(name)) is not None}
    return {**inherited, "PATH": search_path(), **ENVIRONMENT, **dict(_config_variables(config))}


def _config_variables(config: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "GIT_CONFIG_COUNT", str(len(config))
    for number, (name, value) in enumerate(config.items()):
        yield f"GIT_CONFIG_KEY_{number}", name
        yield f"GIT_CONFIG_VALUE_{number}", value


def _git(
    arguments: Sequence[str], folder: Path, config: Mapping[str, str], **env: str
) -> subprocess.CompletedProcess[bytes]:
    """Run git to its end. Raises EdgeinferError if that takes too long: a file that it reads may be a pipe."""
    try:
        return subprocess.run(
            ["git", "--no-pager", *arguments],
            cwd=folder,
            env=git_environment(config) | env,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise EdgeinferError(
            f"git needs more than {TIMEOUT:g} s for {folder}", hint="change to the folder of the project"
        ) from e


def _failure(arguments: Sequence[str], error: bytes) -> EdgeinferError:
    lines = error.decode("utf-8", "replace").strip().split("\n")
    return EdgeinferError(f"git {_command(arguments)}: {' '.join(lines[:3])}")


def _command(arguments: Sequence[str]) -> str:
    return next(argument for argument in arguments if not argument.startswith("-"))
