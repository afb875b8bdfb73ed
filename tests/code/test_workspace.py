"""Which files the assistant may see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.code.workspace import MAX_FILE, Workspace
from edgeinfer.errors import EdgeinferError
from tests.support.project import git, project, write
from tests.support.users import NOBODY, needs_another_user


def test_it_sees_what_git_tracks_or_would_track(tmp_path: Path) -> None:
    """Also a file that is new, and never one that is ignored."""
    root = project(tmp_path, {"a.py": "1", ".gitignore": "*.key\n", "b/c.py": "2"})
    write(root, {"new.py": "3", "x.key": "secret", "b/y.key": "secret"})
    workspace = Workspace(root / "b")
    assert workspace.root == root
    assert workspace.files() == [".gitignore", "a.py", "b/c.py", "new.py"]
    assert workspace.name("c.py") == "b/c.py"
    assert workspace.name("../new.py") == "new.py"


def test_what_gitignore_hides_cannot_be_read_or_written_by_name(tmp_path: Path) -> None:
    """Nor by a link to it, nor by a file that is not there yet."""
    root = project(tmp_path, {".gitignore": "*.key\n"})
    write(root, {"x.key": "secret"})
    (root / "link.py").symlink_to("x.key")
    workspace = Workspace(root)
    for path in ("x.key", "link.py", "./x.key", str(root / "x.key")):
        with pytest.raises(EdgeinferError, match=r"x\.key is hidden by \.gitignore"):
            workspace.name(path)
    with pytest.raises(EdgeinferError, match=r"hidden by \.gitignore"):
        workspace.name("other.key", new=True)


def test_gitignore_counts_in_a_folder_without_a_repository(tmp_path: Path) -> None:
    """Where git is installed, which knows the rules."""
    write(tmp_path, {"a.py": "1", "sub/.gitignore": "hidden\n", "sub/hidden": "2", "sub/b.py": "3"})
    workspace = Workspace(tmp_path)
    assert workspace.files() == ["a.py", "sub/.gitignore", "sub/b.py"]
    with pytest.raises(EdgeinferError, match="hidden"):
        workspace.name("sub/hidden")


def test_without_git_only_named_files_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else knows what is ignored."""
    write(tmp_path, {"a.py": "1"})
    monkeypatch.setenv("PATH", str(tmp_path))
    workspace = Workspace(tmp_path)
    assert workspace.files() == []
    assert workspace.read(workspace.name("a.py")).text == "1"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "out", "folder/passwd"])
def test_nothing_leads_out(path: str, tmp_path: Path) -> None:
    """Neither by its name nor by a link, to a file or a folder."""
    root = project(tmp_path / "root", {})
    write(tmp_path, {"outside": "secret"})
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "folder").symlink_to("/etc")
    workspace = Workspace(root)
    assert workspace.is_outside(path)
    with pytest.raises(EdgeinferError, match="outside of"):
        workspace.name(path)


@pytest.mark.parametrize(
    ("path", "problem"),
    [("~nosuchuser/x", "no such user"), ("a\0b", "no zero byte"), ("n" * 300, "no such file")],
)
def test_names_that_no_file_has(path: str, problem: str, tmp_path: Path) -> None:
    workspace = Workspace(project(tmp_path, {}))
    with pytest.raises(EdgeinferError, match=problem):
        workspace.is_outside(path) or workspace.name(path)


def test_a_file_that_becomes_a_link_between_two_looks_is_not_followed(tmp_path: Path) -> None:
    """The check of the name and the opening are two moments."""
    root = project(tmp_path / "root", {"a.py": "1", "sub/b.py": "2"})
    write(tmp_path, {"outside": "secret", "elsewhere/b.py": "secret"})
    workspace = Workspace(root)
    name, inner = workspace.name("a.py"), workspace.name("sub/b.py")
    (root / "a.py").unlink()
    (root / "a.py").symlink_to(tmp_path / "outside")
    (root / "sub/b.py").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(tmp_path / "elsewhere")
    for each in (name, inner):
        with pytest.raises(EdgeinferError):
            workspace.read(each)


def test_pipes_devices_large_and_binary_files_are_refused_at_once(tmp_path: Path) -> None:
    """A pipe without a writer does not hold us up."""
    root = project(tmp_path, {"large": b"x" * (MAX_FILE + 1), "binary": b"\x7fELF\0\0"})
    os.mkfifo(root / "pipe")
    workspace = Workspace(root)
    for name, problem in (
        ("pipe", "pipe is not a regular file"),
        ("large", "larger than"),
        ("binary", "binary"),
    ):
        with pytest.raises(EdgeinferError, match=problem):
            workspace.read(workspace.name(name))
    with pytest.raises(EdgeinferError, match="not a regular file"):
        workspace.read("pipe")


def test_names_with_control_characters_are_left_out(tmp_path: Path) -> None:
    """They would act on the terminal, or look like another name."""
    root = project(tmp_path, {"a.py": "1", "b\x1b[31m.py": "2", "c\u202eyp.d": "3"})
    workspace = Workspace(root)
    assert workspace.files() == ["a.py"]
    with pytest.raises(EdgeinferError, match=r"the name b\\x1b\[31m\.py has control characters"):
        workspace.name("b\x1b[31m.py")


def test_gits_own_folder_is_none_of_its_files(tmp_path: Path) -> None:
    """To write there would be to run something at the next commit."""
    workspace = Workspace(project(tmp_path, {}))
    for path in (".git/config", ".git/hooks/pre-commit", ".GIT/config"):
        with pytest.raises(EdgeinferError, match="belongs to git"):
            workspace.name(path, new=True)


def test_the_models_names_start_at_the_root(tmp_path: Path) -> None:
    """And are never absolute."""
    root = project(tmp_path, {"a.py": "1", "sub/a.py": "2"})
    workspace = Workspace(root / "sub")
    assert workspace.name_from_root("a.py") == "a.py"
    with pytest.raises(EdgeinferError, match="not a name within the project"):
        workspace.name_from_root(str(root / "a.py"))


def test_a_repository_that_claims_another_folder_is_refused(tmp_path: Path) -> None:
    """Its configuration could name the user's home."""
    root = project(tmp_path / "root", {"a.py": "1"})
    (tmp_path / "home").mkdir()
    git(root, "config", "core.worktree", str(tmp_path / "home"))
    with pytest.raises(EdgeinferError, match="has its files elsewhere"):
        Workspace(root)


def test_a_folder_that_is_no_repository_of_gits_is_passed_by(tmp_path: Path) -> None:
    """Anybody can make a folder of that name in /tmp."""
    (tmp_path / ".git").mkdir()
    write(tmp_path, {"mine/a.py": "1"})
    assert Workspace(tmp_path / "mine").root == tmp_path / "mine"
    root = project(tmp_path, {})
    assert Workspace(tmp_path / "mine").root == root


@needs_another_user
def test_another_users_repository_is_refused_as_git_does(tmp_path: Path) -> None:
    root = project(tmp_path / "root", {"a.py": "1"})
    os.chown(root, NOBODY, NOBODY)
    os.chown(root / ".git", NOBODY, NOBODY)
    with pytest.raises(EdgeinferError, match="dubious ownership"):
        Workspace(root)
