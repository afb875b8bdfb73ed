"""The context is shared out visibly, and a map of the project fills what is left."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest

from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.repository_map import MAX_PARSED, repository_map
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError
from tests.support.project import project, write


def budget(size: int, answer: int = 100) -> ContextBudget:
    return ContextBudget(size, answer, len)  # a token is a character


def test_everything_that_fits_goes_in_whole() -> None:
    context = budget(2000)
    context.add("question", "x" * 99)
    pieces = context.add_fitting([("a", "y" * 499), ("b", "z" * 199)])
    assert [(piece.name, len(piece.text), piece.cut) for piece in pieces] == [("a", 499, ""), ("b", 199, "")]
    assert context.cuts() == []
    assert context.line() == "context 2,000: question 102, a 514, b 205, answer 1,115"


def test_what_does_not_fit_is_cut_at_lines_and_says_so_to_user_and_model() -> None:
    """The smaller text keeps what it needs, the larger gets the rest."""
    context = budget(2000)
    small, large = context.add_fitting([("small", "y" * 100), ("large", "0123456789\n" * 1000)])
    assert (small.text, small.cut) == ("y" * 100, "")
    last = large.text.count("\n")
    assert large.text.startswith(f"[lines 1 to {last} of 1001]\n0123456789\n")
    assert context.cuts() == [f"large: only lines 1 to {last} of 1001 fit"]
    assert 1200 < large.tokens < 1800
    assert context.left >= 0


def test_lines_that_matter_are_kept() -> None:
    """Those that an output names; of an output itself, the end."""
    text = "\n".join(map(str, range(1, 1001)))
    (piece,) = budget(600).add_fitting([("a", text)], [700])
    assert "\n700\n" in piece.text
    (piece,) = budget(600).add_fitting([("output", text)], [1000])
    assert piece.text.endswith("\n1000")


def test_no_room_at_all_leaves_a_text_out_and_says_so() -> None:
    context = budget(300)
    context.add("question", "x" * 120)
    (piece,) = context.add_fitting([("a", "y" * 500)])
    assert (piece.text, context.cuts()) == ("", ["a: left out, the context is full"])


def test_what_is_needed_whole_is_refused_with_the_figures() -> None:
    with pytest.raises(
        EdgeinferError, match="the question has 516 tokens, and the context of 300 has room for 136"
    ):
        budget(300).add("question", "x" * 500)


def test_the_map_has_definitions_and_the_nearest_files_first(tmp_path: Path) -> None:
    """Python's by its own parser; a file that is shown in full is not listed."""
    files = {
        "a/cart.py": "class Cart:\n    def add(self): ...\n    def _x(self): ...\n\n\ndef total(): ...\n",
        "a/broken.py": "def (",
        "b/other.py": "X = 1\n",
        "readme": "hello\n",
    }
    workspace = Workspace(project(tmp_path, files))
    found = repository_map(workspace, budget(10_000), 0.5, ["a/shown.py"])
    assert found.text.split("\n") == ["a/broken.py", "a/cart.py: Cart(add), total()", "readme", "b/other.py"]
    assert found.coverage == ""
    assert "cart.py" not in repository_map(workspace, budget(10_000), 0.5, ["a/cart.py"]).text


def test_generated_code_is_listed_and_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take minutes, and more memory than a board has."""
    monkeypatch.setattr("edgeinfer.code.repository_map.MAX_PARSED_TOTAL", 60)
    large = "def f(): ...\n" + "#" * MAX_PARSED
    some = "def g(): ...\n" + "#" * 30
    root = project(tmp_path, {"a.py": large, "b.py": some, "c.py": some, "d.py": "def h(): ...\n"})
    found = repository_map(Workspace(root), budget(10_000), 0.5)
    assert found.text.split("\n") == ["a.py", "b.py: g()", "c.py", "d.py: h()"]


def test_a_map_that_does_not_fit_says_how_much_it_has(tmp_path: Path) -> None:
    workspace = Workspace(project(tmp_path, {f"file_{number}.txt": "x\n" for number in range(100)}))
    context = budget(1000)
    found = repository_map(workspace, context, 0.5)
    lines = found.text.split("\n")
    assert 20 < len(lines) < 50
    assert found.coverage == f"map: {len(lines)} of 100 files fit"
    assert (
        repository_map(workspace, budget(170), 0.5).coverage == "map: none of 100 files, the context is full"
    )


def test_options_for_ctags_in_a_project_do_nothing(tmp_path: Path) -> None:
    """It would read .ctags.d in the current folder, and can be told there to write files."""
    root = project(tmp_path, {"a.c": "int f(void) { return 1; }\n"})
    write(root, {"-fcaught": "int g(void);\n", "--list-kinds": "x\n"})  # names can be options too
    write(root, {".ctags.d/x.ctags": f"-f {tmp_path}/caught\n--list-kinds\n", ".ctags": "--list-kinds\n"})
    found = repository_map(Workspace(root), budget(10_000), 0.5)
    version = (
        subprocess.run(["ctags", "--version"], capture_output=True, text=True).stdout
        if which("ctags")
        else ""
    )
    assert ("a.c: f" if version.startswith("Universal") else "a.c") in found.text.split("\n")
    assert not (tmp_path / "caught").exists()
    assert not (root / "caught").exists()
