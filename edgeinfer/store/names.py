"""Checks names of models, repositories and files, because they become paths and addresses."""

from __future__ import annotations

import re

MAX_LENGTH = 200
"""Characters, for any of them."""

_WORD = r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*"
_NAME = re.compile(_WORD)
_REPO = re.compile(rf"{_WORD}/{_WORD}")
_REVISION = re.compile(r"[A-Za-z0-9](?:[._/-]?[A-Za-z0-9])*")
_FILE = re.compile(r"[A-Za-z0-9_](?:[^\x00-\x1f\x7f\\/]*[^\x00-\x20\x7f\\/.])?")
_PATTERN = re.compile(r"[A-Za-z0-9_*?\[](?:[^\x00-\x1f\x7f\\/]*[^\x00-\x20\x7f\\/.])?")


def name_problem(name: str) -> str | None:
    """Explain why a model cannot have this name; None if it can."""
    return (
        None
        if _fits(_NAME, name)
        else "a name has letters and digits, with single '.', '-' or '_' between them"
    )


def repo_problem(repo: str) -> str | None:
    """Explain why this cannot be a repository; None if it can."""
    return None if _fits(_REPO, repo) else "a repository is OWNER/NAME"


def revision_problem(revision: str) -> str | None:
    """Explain why this cannot be a revision; None if it can."""
    return None if _fits(_REVISION, revision) else "a revision is a branch, a tag or a commit"


def file_problem(file: str, *, pattern: bool = False) -> str | None:
    """Explain why `file` cannot be a path within a repository; with `pattern`, it may be a glob pattern."""
    part_pattern = _PATTERN if pattern else _FILE
    if len(file) <= MAX_LENGTH and all(_fits(part_pattern, part) for part in file.split("/")):
        return None
    return "a file is a path within the repository, without '..', a leading '/' or a backslash"


def _fits(pattern: re.Pattern[str], text: str) -> bool:
    return len(text) <= MAX_LENGTH and pattern.fullmatch(text) is not None
