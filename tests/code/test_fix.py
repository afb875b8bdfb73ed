"""`edgeinfer code fix` in a terminal, with a model that follows a script."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.cli import daemon, run, terminal
from tests.support.coder import blocks, coding, whole
from tests.support.project import git, inside, project
from tests.support.server import eventually

WRONG = "def total(prices):\n    return -sum(prices)\n"
RIGHT = "def total(prices):\n    return sum(prices)\n"
CHECK = "from cart import total\n\nassert total([1, 2]) == 3, total([1, 2])\n"
COMMAND = f"{sys.executable} check.py"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with a fault that its check shows."""
    return project(tmp_path / "shop", {"cart.py": WRONG, "check.py": CHECK})


def fix(shop: Path, *arguments: str, stdin: str = "", **env: str) -> tuple[int, str, str]:
    """Run the command without a terminal."""
    with inside(shop):
        done = run(shop.parent, "code", "fix", *arguments, "cart.py", stdin=stdin, **env)
    return done.returncode, done.stdout, done.stderr


def test_it_mends_what_makes_a_command_fail_and_undo_gives_back_the_bytes(shop: Path, tmp_path: Path) -> None:
    """Each step is asked for: the run, the change, the next run."""
    with (
        coding(whole(cart_py=WRONG.replace("-", "0 - ")), whole(cart_py=RIGHT)) as (coder, env),
        terminal(tmp_path, "code", "fix", "--run", COMMAND, "cart.py", folder=shop, **env) as t,
    ):
        assert f"$ {COMMAND}" in t.expect(r"Run this\? \[y\]es, \[n\]o, \[q\]uit: ")
        t.send("y\n")
        assert "AssertionError: -3" in t.expect(r"exit code 1\)")
        assert "+    return 0 - sum(prices)" in t.expect(
            r"Write this\? \[y\]es, \[n\]o, \[e\]dit, \[q\]uit: "
        )
        assert (shop / "cart.py").read_text() == WRONG
        t.send("y\n")
        t.expect(r"Run this\?.*: ")
        assert "0 - sum" in (shop / "cart.py").read_text()
        t.send("y\n")
        t.expect(r"exit code 1\)")
        t.expect(r"Write this\?.*: ")
        t.send("y\n")
        t.expect(r"Run this\?.*: ")
        t.send("y\n")
        t.expect("it succeeds now")
        assert t.wait() == 0
    assert (shop / "cart.py").read_text() == RIGHT
    assert "AssertionError: -3" in coder.prompt(0)
    assert "0 - sum(prices)" in coder.prompt(1)
    for content in (WRONG.replace("-", "0 - "), WRONG):
        with terminal(tmp_path, "code", "undo", folder=shop) as t:
            t.expect(r"put back cart\.py")
            assert t.wait() == 0
        assert (shop / "cart.py").read_text() == content


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("q", 1), ("\x04", 1), ("\x03", 130)])
def test_no_quit_ctrl_d_and_ctrl_c_leave_the_file_alone(
    answer: str, code: int, shop: Path, tmp_path: Path
) -> None:
    """Whatever is no yes is a no."""
    with (
        coding(whole(cart_py=RIGHT)) as (_, env),
        terminal(tmp_path, "code", "fix", "cart.py", folder=shop, **env) as t,
    ):
        t.expect(r"Write this\?.*: ")
        t.settle()
        t.send(answer if answer < " " else f"{answer}\n")
        assert t.wait() == code
    assert (shop / "cart.py").read_text() == WRONG
    assert sorted(path.name for path in shop.iterdir()) == [".git", "cart.py", "check.py"]


def test_what_was_typed_before_the_question_is_no_answer(shop: Path, tmp_path: Path) -> None:
    """Somebody may have pasted more than one line."""
    with (
        coding(whole(cart_py=RIGHT)) as (coder, env),
        terminal(tmp_path, "code", "fix", "cart.py", folder=shop, **env) as t,
    ):
        coder.hold_first = 2.0
        t.expect("context")
        t.send("y\ny\n")
        t.expect(r"Write this\?.*: ")
        t.settle()
        assert (shop / "cart.py").read_text() == WRONG
        t.send("n\n")
        assert t.wait() == 1


def test_ctrl_c_while_the_model_writes_stops_it(shop: Path, tmp_path: Path) -> None:
    """Nothing is written, and the daemon computes for nobody."""
    with (
        coding(whole(cart_py=RIGHT)) as (coder, env),
        terminal(tmp_path, "code", "fix", "cart.py", folder=shop, **env) as t,
    ):
        coder.hold_first = 60.0
        assert eventually(lambda: coder.running == 1, 30)
        t.interrupt()
        assert t.wait() == 130
        assert eventually(lambda: (coder.running, coder.ended) == (0, 1), 30)
    assert (shop / "cart.py").read_text() == WRONG


def test_an_editor_changes_the_proposal_which_is_shown_again(shop: Path, tmp_path: Path) -> None:
    """What is written is what was shown last, in colours."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/sum/fsum/" "$1"\n')
    editor.chmod(0o755)
    with (
        coding(whole(cart_py=RIGHT)) as (_, env),
        terminal(
            tmp_path,
            "code",
            "fix",
            "cart.py",
            folder=shop,
            **env,
            EDITOR=str(editor),
            VISUAL="",
            TERM="xterm",
        ) as t,
    ):
        t.expect(r"Write this\?.*: ")
        t.send("e\n")
        assert "\x1b[32m+    return fsum(prices)\x1b[0m" in t.expect(r"Write this\?.*: ")
        t.send("y\n")
        assert t.wait() == 0
    assert (shop / "cart.py").read_text() == RIGHT.replace("sum", "fsum")


def test_without_a_terminal_nothing_is_written_unless_told(shop: Path) -> None:
    """And --dry-run prints a diff that git could apply."""
    with coding(whole(cart_py=RIGHT)) as (coder, env):
        code, out, err = fix(shop, stdin="y\n", **env)
        assert (code, out, coder.requests) == (1, "", [])
        assert "you are asked, and this is not a terminal" in err
        assert (shop / "cart.py").read_text() == WRONG
        code, out, err = fix(shop, "--dry-run", **env)
        assert (code, out.splitlines()[0], out.splitlines()[-1]) == (
            0,
            "--- a/cart.py",
            "+    return sum(prices)",
        )
        assert (shop / "cart.py").read_text() == WRONG
        code, out, err = fix(shop, "--yes", **env)
        assert code == 0
        assert "+    return sum(prices)" in err  # shown all the same
    assert (shop / "cart.py").read_text() == RIGHT


def test_yes_runs_the_command_that_was_typed(shop: Path) -> None:
    """Until it succeeds, or the rounds are over."""
    with coding(whole(cart_py=RIGHT.replace("sum", "max")), whole(cart_py=RIGHT)) as (_, env):
        assert fix(shop, "--yes", "--rounds", "1", "--run", COMMAND, **env)[0] == 1
        code, _, err = fix(shop, "--yes", "--run", COMMAND, **env)
    assert code == 0
    assert "it succeeds now" in err


def test_what_succeeds_already_needs_no_model(shop: Path) -> None:
    (shop / "cart.py").write_text(RIGHT)
    with coding(whole(cart_py=WRONG)) as (coder, env):
        code, _, err = fix(shop, "--yes", "--run", COMMAND, **env)
    assert (code, coder.requests) == (0, [])
    assert "there is nothing to mend" in err


def test_an_answer_that_does_not_apply_is_sent_back_with_the_reason(shop: Path) -> None:
    """And a file that was not named cannot be changed by any answer."""
    with coding(whole(cart_py=WRONG), whole(cart_py=RIGHT)) as (coder, env):
        code, _, err = fix(shop, "--yes", **env)
    assert code == 0
    assert "(the edits change nothing; asking again)" in err
    assert "the edits change nothing" in coder.prompt(1)
    assert (shop / "check.py").read_text() == CHECK


def test_the_file_is_predicted_and_only_named_files_are_allowed(shop: Path) -> None:
    """By the schema, under which no model can name another file."""
    with coding(whole(cart_py=RIGHT)) as (coder, env):
        fix(shop, "--dry-run", **env)
    grammar = coder.structured.grammar or ""
    assert "cart.py" in grammar
    assert "check.py" not in grammar


def test_of_a_larger_file_only_passages_are_replaced(shop: Path) -> None:
    """One that is not there goes back to the model with the lines that are like it."""
    rest = "# and so on\n" * 200
    (shop / "cart.py").write_text(WRONG + rest)
    wrong = blocks(("cart.py", "    return - sum(prices)", "    return sum(prices)"))
    right = blocks(("cart.py", "return -sum", "return sum"))
    with coding(wrong, right) as (coder, env):
        code, _, err = fix(shop, "--yes", **env)
    assert code == 0
    assert "`old` does not occur in it; similar lines are:\n    return -sum(prices)" in err
    assert "similar lines are:" in coder.prompt(1)
    assert (shop / "cart.py").read_text() == RIGHT + rest


def test_half_an_answer_changes_nothing(shop: Path) -> None:
    """Neither one that is cut off, nor one that keeps to no schema."""
    with coding(whole(cart_py=RIGHT)[:-4]) as (_, env):
        code, _, err = fix(shop, "--yes", **env)
    assert code == 1
    assert "error:" in err
    assert (shop / "cart.py").read_text() == WRONG


@pytest.mark.parametrize("command", [("fix", "cart.py"), ("test", "cart.py"), ("commit",)])
def test_a_server_that_keeps_to_no_schema_gets_an_error(shop: Path, command: tuple[str, ...]) -> None:
    """As one of another program may, which ignores `response_format`."""
    (shop / "cart.py").write_text(RIGHT)
    git(shop, "add", ".")
    wrong = ["[]", "5", '{"answer": 1}', '{"explanation": 1, "files": 1}', "[" * 100_000]
    wrong += ['{"explanation": "x", "files": [{"file": "cart.py", "content": "\\ud800"}], "subject": null}']
    for answer in wrong:
        with daemon(answer) as server, inside(shop):
            server.models = [{"id": "other", "meta": {"n_ctx": 32768}}]
            done = run(shop.parent, "code", *command, "--yes", EDGEINFER_PORT=server.port)
        assert done.returncode == 1
        assert "error: the server did not keep to the schema: " in done.stderr
    assert git(shop, "status", "--short") == "M  cart.py\n"
