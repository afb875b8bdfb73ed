"""Reviews a change that git shows."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Answer, Assistant
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.git import Git
from edgeinfer.code.question import answer_question
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError


def review(session: CodeSession, assistant: Assistant, diff: str) -> Answer:
    """Show the model's opinion of a diff."""
    return answer_question(session, assistant, prompts.REVIEW, extra=("diff", diff), with_map=False)


def staged_diff(workspace: Workspace) -> str:
    """Return what a commit would contain; empty if that is nothing."""
    return _git(workspace).diff("--cached")


def reviewed_diff(workspace: Workspace, paths: Sequence[str], *, staged: bool, revisions: str | None) -> str:
    """Return the diff that is to be reviewed: by default, all that has not been committed.

    Raises:
        EdgeinferError: there is no repository, git does not know the revisions, or nothing has changed.
    """
    git = _git(workspace)
    if revisions is not None and revisions.startswith("-"):
        raise EdgeinferError(f"{revisions!r} is no range of commits", hint="such as main..HEAD")
    names = [workspace.name(path, new=True) for path in paths]
    if revisions:
        diff = git.diff(revisions, paths=names)
    elif staged or not git.has_commits():
        diff = git.diff("--cached", paths=names)
    else:
        diff = git.diff("HEAD", paths=names)
    if not diff.strip():
        what = "staged" if staged else "changed"
        raise EdgeinferError(f"nothing is {what}", hint="git status" if not staged else "git add FILE")
    return diff


def _git(workspace: Workspace) -> Git:
    if workspace.git is None:
        raise EdgeinferError("git is not installed", hint="install git")
    return workspace.git
