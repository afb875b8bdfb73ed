"""Writes tests for some code, into a file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Assistant
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.edit_request import EditRequest

NAMES = {
    ".go": "{stem}_test.go",
    ".py": "test_{stem}.py",
    ".js": "{stem}.test.js",
    ".jsx": "{stem}.test.jsx",
    ".ts": "{stem}.test.ts",
    ".tsx": "{stem}.test.tsx",
    ".rb": "{stem}_test.rb",
    ".java": "{stem}Test.java",
}
"""What the test of a file is called, by the file's ending."""


def write_tests(session: CodeSession, assistant: Assistant, paths: Sequence[str], out: str | None) -> bool:
    """Ask for tests of some files, show them and write them; tell whether they have been written."""
    files = session.read(paths)
    name = (
        session.workspace.name(out, new=True)
        if out
        else name_of_tests(files[0].name, session.workspace.files())
    )
    request = EditRequest(session, assistant, [session.existing_or_new(name)], whole=True)
    wish = prompts.TEST.format(name=name)
    budget = request.budget()
    budget.add("question", request.system + wish)
    pieces = request.add_files(budget)
    pieces += budget.add_fitting([(file.name, file.text) for file in files])
    session.say_budget(budget)
    return session.accept(request.ask(prompts.joined(*prompts.file_texts(pieces), wish), budget))


def name_of_tests(name: str, names: Sequence[str]) -> str:
    """Return the name for the tests of a file: in the folder of tests if there is one, else beside it."""
    path = PurePosixPath(name)
    file = NAMES.get(path.suffix, "test_{stem}" + path.suffix).format(stem=path.stem)
    in_tests = path.suffix == ".py" and any(other.startswith("tests/") for other in names)
    return f"tests/{file}" if in_tests else str(path.with_name(file))
