"""Lists the files of a project with what they define, as far as there is room."""

from __future__ import annotations

import ast
import contextlib
import json
import shutil
import subprocess
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from edgeinfer.code import prompts
from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.git import search_path
from edgeinfer.code.visible import visible
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError

MAX_FILES = 2000
"""Files that are looked into."""

MAX_PARSED = 250_000
"""Characters of a Python file that is looked into: its tree may take 500 bytes for each."""

MAX_PARSED_TOTAL = 10_000_000
"""Characters of all of them: some ten seconds of work on a small board."""

MAX_DEFINITIONS = 40
"""Definitions of a file that are listed."""

MAX_LENGTH = 160
"""Characters of a line of the map."""

KINDS = (
    "class",
    "function",
    "method",
    "struct",
    "interface",
    "enum",
    "trait",
    "type",
    "typedef",
    "macro",
    "func",
)
"""What ctags calls a definition that is worth a place."""

TIMEOUT = 20.0


class RepositoryMap(msgspec.Struct, frozen=True):
    """A list of files for the model.

    Attributes:
        coverage: how much of the project it is, in words, unless it is all of it.
    """

    text: str = ""
    coverage: str = ""

    def prompt(self) -> str:
        return prompts.fenced("Files of the project, with what they define:", self.text) if self.text else ""


def repository_map(
    workspace: Workspace, budget: ContextBudget, share: float, near: Collection[str] = ()
) -> RepositoryMap:
    """Put a map of the project into a share of the context's rest.

    Args:
        near: files that are shown in full; those beside them come first, and they themselves are left out.
    """
    if workspace.git is None:
        return RepositoryMap(coverage="no map: git is not installed, which knows what .gitignore hides")
    names = [name for name in workspace.files() if name not in near]
    if not names:
        return RepositoryMap()
    names.sort(key=lambda name: (-_nearness(name, near), name.count("/"), name))
    definitions = _definitions(workspace, names[:MAX_FILES])
    lines = [_line(name, definitions.get(name, ())) for name in names]
    room = int(max(budget.left, 0) * share)
    size = len(lines)
    while size and (tokens := budget.count("\n".join(lines[:size]))) > room:
        size = min(size - 1, int(size * 0.95 * room / tokens))
    if not size:
        return RepositoryMap(coverage=f"map: none of {len(lines):,} files, the context is full")
    text = "\n".join(lines[:size])
    budget.add("map", text)
    coverage = "" if size == len(lines) else f"map: {size:,} of {len(lines):,} files fit"
    return RepositoryMap(text, coverage)


def _nearness(name: str, near: Collection[str]) -> int:
    """Return how many folders a file shares with the nearest of some others."""
    folders = set(PurePosixPath(name).parents)
    return max((len(folders.intersection(PurePosixPath(other).parents)) for other in near), default=0)


def _line(name: str, definitions: Sequence[str]) -> str:
    shown = ", ".join(definitions[:MAX_DEFINITIONS])
    line = f"{name}: {shown}" if shown else name
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 2] + " …"


def _definitions(workspace: Workspace, names: Sequence[str]) -> dict[str, Sequence[str]]:
    python = [name for name in names if name.endswith((".py", ".pyi"))]
    others = [name for name in names if name not in set(python)]
    found: dict[str, Sequence[str]] = dict(_by_ctags(workspace, others))
    left = MAX_PARSED_TOTAL
    for name in python:
        with contextlib.suppress(EdgeinferError):
            text = workspace.read(name).text
            if len(text) <= min(MAX_PARSED, left):
                left -= len(text)
                found[name] = list(_python(text))
    return found


def _python(text: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code of others
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{node.name}()"
        elif isinstance(node, ast.ClassDef):
            methods = [
                part.name
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_")
            ]
            yield f"{node.name}({' '.join(methods)})" if methods else node.name


def _by_ctags(workspace: Workspace, names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return what Universal Ctags finds, where it is installed. It reads no options of the project's."""
    if not names or shutil.which("ctags", path=search_path()) is None:
        return {}
    readable = [name for name in names if _is_regular(workspace, name)]
    command = [
        "ctags",
        "--options=NONE",
        "--links=no",
        "--output-format=json",
        "--fields=NFK",
        "-f",
        "-",
        "-L",
        "-",
    ]
    try:
        done = subprocess.run(
            command,
            cwd=workspace.root,
            input="".join(f"./{name}\n" for name in readable).encode(),  # or a name might be an option
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": search_path()},
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found: dict[str, list[str]] = {}
    for line in done.stdout.split(b"\n"):
        if (tag := _tag(line)) and tag["kind"] in KINDS:
            found.setdefault(tag["path"].removeprefix("./"), []).append(visible(tag["name"]))
    return found


def _tag(line: bytes) -> dict[str, str] | None:
    """Read a line of ctags; None if it is another ctags, which knows no JSON."""
    try:
        tag = json.loads(line)
    except ValueError:
        return None
    return tag if isinstance(tag, dict) and {"kind", "path", "name"} <= tag.keys() else None


def _is_regular(workspace: Workspace, name: str) -> bool:
    """A pipe or a device would hold ctags up."""
    path = workspace.root / name
    return not path.is_symlink() and path.is_file() and path.resolve() == path
