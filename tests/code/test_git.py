"""Git is read without running what a repository brings along."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.change_review import reviewed_diff, staged_diff
from edgeinfer.code.command_run import run_command
from edgeinfer.code.repository_map import repository_map
from edgeinfer.code.sandbox import find_sandbox
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError
from tests.support.project import git, inside, project, write


def test_no_program_of_the_repository_is_started(tmp_path: Path) -> None:
    """Neither monitors nor filters nor drivers for diffs nor hooks."""
    root = project(tmp_path / "root", {"a.py": "1\n", "b.bin": "2\n"})
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/caught-$1\ncat\n")
    trap.chmod(0o755)
    settings = {
        "core.fsmonitor": f"{trap} fsmonitor",
        "core.pager": f"{trap} pager",
        "diff.external": f"{trap} external",
        "diff.x.command": f"{trap} command",
        "diff.x.textconv": f"{trap} textconv",
        "filter.x.clean": f"{trap} clean",
        "filter.x.smudge": f"{trap} smudge",
        "filter.x.required": "true",
        "filter.a=b.process": f"{trap} process",
        "core.hooksPath": str(tmp_path),
    }
    write(
        root,
        {".gitattributes": "*.py diff=x filter=x\n*.bin filter=a=b\n", "a.py": "new\n", "b.bin": "new\n"},
    )
    for name, value in settings.items():
        git(root, "config", name, value)
    workspace = Workspace(root)
    workspace.files()
    workspace.name("a.py")
    diff = reviewed_diff(workspace, ["a.py"], staged=False, revisions=None)
    reviewed_diff(workspace, [], staged=False, revisions=None)
    staged_diff(workspace)
    assert "-1\n+new\n" in diff
    assert list(tmp_path.glob("caught*")) == []
    git(root, "diff")
    assert list(tmp_path.glob("caught*")) != []  # so they were traps


def test_a_git_of_the_projects_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody has the current folder on the path."""
    root = project(tmp_path / "root", {"a.py": "1\n"})
    for name in ("git", "ctags", "bwrap"):
        (root / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/caught\n")
        (root / name).chmod(0o755)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}:")
    with inside(root):
        workspace = Workspace(root)
        repository_map(workspace, ContextBudget(10_000, 10, len), 0.5)
        run_command("true", find_sandbox(root), lambda _: None)
    assert "a.py" in workspace.files()
    assert not (tmp_path / "caught").exists()


def test_git_that_waits_for_a_pipe_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project may have one for its .gitignore."""
    monkeypatch.setattr("edgeinfer.code.git.TIMEOUT", 0.5)
    workspace = Workspace(project(tmp_path, {"a.py": "1\n"}))
    os.mkfifo(tmp_path / ".gitignore")
    for ask in (workspace.files, lambda: workspace.name("new.py", new=True)):
        with pytest.raises(EdgeinferError, match="git needs more than"):
            ask()


def test_the_diff_is_of_what_is_asked_for(tmp_path: Path) -> None:
    """All that is not committed, only what is staged, or a range."""
    root = project(tmp_path, {"a": "1\n", "b": "1\n"})
    write(root, {"a": "2\n", "b": "2\n"})
    git(root, "add", "a")
    workspace = Workspace(root)
    everything = reviewed_diff(workspace, [], staged=False, revisions=None)
    staged = reviewed_diff(workspace, [], staged=True, revisions=None)
    assert ("+++ b/a" in everything, "+++ b/b" in everything) == (True, True)
    assert ("+++ b/a" in staged, "+++ b/b" in staged) == (True, False)
    assert "+++ b/a" not in reviewed_diff(workspace, ["b"], staged=False, revisions="HEAD")
    for revisions in ("--output=/tmp/x", "nothing"):
        with pytest.raises(EdgeinferError):
            reviewed_diff(workspace, [], staged=False, revisions=revisions)


def test_nothing_to_review_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgeinferError, match="nothing is changed"):
        reviewed_diff(Workspace(project(tmp_path, {})), [], staged=False, revisions=None)


def test_a_repository_without_commits_has_a_diff(tmp_path: Path) -> None:
    """There is nothing to compare with but nothing."""
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {"a": "1\n"})
    git(tmp_path, "add", "a")
    assert "+1\n" in reviewed_diff(Workspace(tmp_path), [], staged=False, revisions=None)
