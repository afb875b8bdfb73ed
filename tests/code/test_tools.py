"""What the model's tools do, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.code.assistant import ModelCall
from edgeinfer.code.code_session import CodeSession, UserStopped
from edgeinfer.code.tools import MAX_HITS, Tools
from edgeinfer.code.workspace import Workspace
from tests.support.project import project
from tests.support.screens import ScriptedScreen
from tests.support.tool_calls import MAX_RESULT, calls, edit


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and a state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = project(tmp_path / "shop", {"a.py": "one\ntwo\n", "b.py": "two\n", ".gitignore": "*.key\n"})
    (root / "x.key").write_text("secret")
    (root / "out.py").symlink_to("/etc/passwd")
    (root / "link").symlink_to(tmp_path)
    return root


@pytest.mark.parametrize(
    ("file", "old", "problem"),
    [
        ("../outside.py", "", "outside of"),
        ("/etc/passwd", "", "not a name within"),
        (".git/hooks/pre-commit", "", "belongs to git"),
        ("y.key", "", "hidden by .gitignore"),
        ("x.key", "secret", "hidden by .gitignore"),
        ("link/x", "", "outside of"),
        ("out.py", "root", "outside of"),
        ("a.py", "three", "does not occur"),
        ("a.py/x", "", "Not a directory"),
        ("n" * 290, "", "File name too long"),
    ],
)
def test_an_edit_that_may_not_be_is_not_even_proposed(file: str, old: str, problem: str, shop: Path) -> None:
    """Also if it is allowed to write without asking. The model is told why."""
    (result,), shown = calls(shop, edit(file, old, "x"), yes=True)
    assert result.startswith("error:")
    assert problem in result
    assert "+++" not in shown or problem in ("Not a directory", "File name too long")


def test_the_edits_of_one_answer_are_one_change(shop: Path) -> None:
    """All of them, or none."""
    results, shown = calls(shop, edit("a.py", "one", "1"), edit("b.py", "two", "2"), answers="y")
    assert results == ["written", "written"]
    assert shown.count("Write this?") == 1
    assert (shop / "a.py").read_text() == "1\ntwo\n"
    results, _ = calls(shop, edit("a.py", "1", "one"), edit("b.py", "nothing", "2"))
    assert all("edit 2 of 2, of b.py" in result for result in results)
    assert (shop / "a.py").read_text() == "1\ntwo\n"


def test_no_means_no_and_quit_means_stop(shop: Path) -> None:
    assert calls(shop, edit("a.py", "one", "1"), answers="n")[0] == ["the owner does not want this change"]
    with pytest.raises(UserStopped):
        calls(shop, edit("a.py", "one", "1"), answers="q")
    assert (shop / "a.py").read_text() == "one\ntwo\n"


def test_the_users_own_editor_has_the_last_word(shop: Path) -> None:
    """What it leaves is shown, and asked about, once more."""
    results, shown = calls(shop, edit("a.py", "one", "1x"), answers="ey")
    assert results == ["written"]
    assert shown.count("Write this?") == 2
    assert (shop / "a.py").read_text() == "1X\nTWO\n"


def test_each_run_is_asked_for_even_where_changes_are_not(shop: Path) -> None:
    """`--yes` is for what the user has typed; a model's command is not."""
    (result,), shown = calls(shop, ("run", {"command": "touch caught"}), yes=True)
    assert "nobody answers" in result
    assert "$ touch caught" in shown
    (result,), _ = calls(shop, ("run", {"command": "touch caught"}), answers="n", yes=True)
    assert "does not want" in result
    assert not (shop / "caught").exists()


def test_reading_and_searching_see_no_more_than_the_project(shop: Path) -> None:
    """Not what is ignored, not what a link leads to."""
    for file in ("x.key", "out.py", "/etc/passwd", "../x", "link/x", "."):
        (result,), _ = calls(shop, ("read", {"file": file, "line": 1}))
        assert result.startswith("error:")
    results, shown = calls(
        shop, ("search", {"text": "secret"}), ("search", {"text": "root:"}), ("search", {"text": "two"})
    )
    nothing = "no line contains that; 2 files are links, binary or too large"
    assert results == [nothing, nothing, "a.py:2: two\nb.py:1: two"]
    assert "2 lines" in shown


def test_results_are_cut_where_all_can_see_it(shop: Path) -> None:
    """A long file by lines, a long search by hits."""
    (shop / "long.py").write_text("".join(f"{'x' * 90} {number}\n" for number in range(1, 1001)))
    (result,), shown = calls(shop, ("read", {"file": "long.py", "line": 901}))
    assert "lines 901 to 1001 of 1001" in result
    assert "lines 901 to 1001 of 1001" in shown
    assert len(result) < MAX_RESULT + 100
    assert "characters left out]" in result
    (result,), _ = calls(shop, ("search", {"text": " "}))
    assert f"… and {1000 - MAX_HITS} more lines" in result


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", "{"),
        ("read", "{}"),
        ("read", "[]"),
        ("read", '{"file": "a.py", "line": -3}'),
        ("read", "[" * 100_000),
        ("search", '{"text": "\\ud800"}'),
        ("edit", '{"file": 1}'),
        ("edit", '{"file": "new.py", "old": "", "new": null}'),
        ("run", "null"),
        ("other", "{}"),
    ],
)
def test_a_server_that_does_not_hold_to_the_tools_gets_an_error(
    name: str, arguments: str, shop: Path
) -> None:
    (result,) = Tools(CodeSession(Workspace(shop), ScriptedScreen()), MAX_RESULT).results(
        [ModelCall(name, arguments)]
    )
    assert "not valid" in result or "no tool" in result


def test_a_command_with_a_zero_byte_is_refused(shop: Path) -> None:
    (result,), shown = calls(shop, ("run", {"command": "echo a\0b"}))
    assert result == "error: a command has no zero byte"
    assert "Run this?" not in shown


def test_the_file_that_is_asked_about_is_the_one_that_is_read(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where ~ stands for a home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes").write_text("mine")
    screen = ScriptedScreen("y")
    (file,) = CodeSession(Workspace(shop), screen).read(["~/notes"])
    assert file.text == "mine"
    assert f"{tmp_path}/notes is outside of {shop}" in screen.text
