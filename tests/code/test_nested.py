"""A repository in a folder of the project is another project, for every part of the assistant."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.change_review import reviewed_diff
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.repository_map import repository_map
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError
from tests.support.project import git, project, write
from tests.support.screens import ScriptedScreen
from tests.support.tool_calls import calls, edit


@pytest.fixture(params=["clone", "submodule", "empty submodule", "work tree", "no outer repository"])
def outer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a repository in its folder `sub`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "outer"
    if request.param == "no outer repository":
        write(root, {"a.py": "mine\n"})
    else:
        project(root, {"a.py": "mine\n"})
    if request.param.endswith("submodule"):
        source = project(tmp_path / "source", {"b.py": "theirs\n"})
        git(
            root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"file://{source}", "sub"
        )
        git(root, "commit", "--quiet", "--message", "second")
    elif request.param == "work tree":
        git(root, "worktree", "add", "--quiet", "sub")
        write(root, {"sub/b.py": "theirs\n"})
    else:
        project(root / "sub", {"b.py": "theirs\n"})
    if request.param == "empty submodule":
        git(root, "submodule", "--quiet", "deinit", "sub")
    else:
        trap = f"touch {tmp_path}/caught"
        for name in ("core.fsmonitor", "diff.external", "filter.x.clean"):
            git(root / "sub", "config", name, trap)
        write(root, {"sub/.gitattributes": "*.py filter=x\n", "sub/b.py": "theirs, changed\n"})
    (tmp_path / "caught").unlink(missing_ok=True)
    return root


def test_its_files_are_not_seen_and_not_changed(outer: Path, tmp_path: Path) -> None:
    """The error says where to go; no program of that repository is started."""
    workspace = Workspace(outer)
    shown = [".gitmodules", "a.py"] if (outer / ".gitmodules").exists() else ["a.py"]
    assert workspace.files() == shown
    assert "sub" not in repository_map(workspace, ContextBudget(10_000, 10, len), 0.5).text.split("\n")
    for result in (
        *calls(outer, ("read", {"file": "sub/b.py", "line": 1}))[0],
        *calls(outer, edit("sub/b.py", "theirs", "ours"), yes=True)[0],
        *calls(outer, edit("sub/new.py", "", "ours"), yes=True)[0],
    ):
        assert result.startswith("error: ")
        assert "in sub" in result or "no such file" in result
        assert "gitignore" not in result
    (found,), _ = calls(outer, ("search", {"text": "theirs"}))
    assert found.startswith("no line contains that")
    assert not (outer / "sub/new.py").exists()
    if workspace.git and workspace.git.is_repository:
        write(outer, {"a.py": "mine, changed\n"})
        assert "theirs" not in reviewed_diff(workspace, [], staged=False, revisions=None)
    assert not (tmp_path / "caught").exists()


def test_in_its_folder_it_is_the_project(outer: Path) -> None:
    """What is changed there is taken back there."""
    if not (outer / "sub/.git").exists():
        return
    for name in ("core.fsmonitor", "diff.external", "filter.x.clean"):
        git(outer / "sub", "config", "--unset", name)
    workspace = Workspace(outer / "sub")
    assert workspace.root == outer / "sub"
    session = CodeSession(workspace, ScriptedScreen(), yes=True)
    assert session.existing_or_new("b.py").text.startswith("theirs")
    assert calls(outer / "sub", edit("b.py", "theirs", "ours"), yes=True)[0] == ["written"]
    assert (outer / "sub/b.py").read_text() == "ours, changed\n"
    with pytest.raises(EdgeinferError, match="nothing to undo"):
        CodeSession(Workspace(outer), ScriptedScreen()).journal.undo()
    session.journal.undo()
    assert (outer / "sub/b.py").read_text() == "theirs, changed\n"
