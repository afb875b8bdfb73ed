"""The commands of `edgeinfer code` that ask once, with a model that follows a script."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.cli import daemon, environment, run, terminal
from tests.support.coder import CODER, coding, whole
from tests.support.project import IDENTITY, git, inside, project, write

CODE = "def total(prices):\n    \n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return project(tmp_path / "shop", {"cart.py": CODE, ".gitignore": "*.key\n", "tests/test_a.py": "\n"})


def code(shop: Path, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, without a terminal."""
    with inside(shop):
        return run(shop.parent, "code", *arguments, stdin=stdin, **env)


def test_a_question_is_answered_from_files_a_map_and_what_is_piped(shop: Path) -> None:
    """The answer goes to stdout, and what the model was given to stderr."""
    with coding("It adds up.") as (coder, env):
        done = code(shop, "ask", "What is total?", "cart.py", stdin="Traceback", **env)
    assert (done.returncode, done.stdout) == (0, "It adds up.\n")
    assert "context 32,768: question" in done.stderr
    assert ", cart.py " in done.stderr
    prompt = coder.prompt(0)
    assert f"File cart.py:\n```\n{CODE}```" in prompt
    assert "The standard input:\n```\nTraceback\n```" in prompt
    assert "tests/test_a.py" in prompt
    assert prompt.endswith("What is total?\n[assistant]")


def test_explain_asks_about_files_and_never_about_hidden_ones(shop: Path) -> None:
    write(shop, {"x.key": "secret"})
    with coding("So.") as (coder, env):
        assert code(shop, "explain", "cart.py", **env).stdout == "So.\n"
        done = code(shop, "explain", "x.key", **env)
    assert done.returncode == 1
    assert "x.key is hidden by .gitignore" in done.stderr
    assert len(coder.requests) == 1


def test_a_file_outside_is_read_only_after_a_yes(shop: Path, tmp_path: Path) -> None:
    """Its real place is in the question; without a terminal nobody can say yes."""
    write(tmp_path, {"outside.py": "far = 1\n"})
    (shop / "link.py").symlink_to("../outside.py")
    with coding("So.") as (coder, env):
        assert "Nobody can be asked" in code(shop, "explain", "../outside.py", **env).stderr
        for answer, status in (("n", 1), ("y", 0)):
            with terminal(tmp_path, "code", "explain", "link.py", folder=shop, **env) as t:
                assert f"{tmp_path}/outside.py is outside of {shop}" in t.expect(r"Read it\?.*: ")
                t.send(f"{answer}\n")
                assert t.wait() == status
    assert len(coder.requests) == 1
    assert "far = 1" in coder.prompt(0)


def test_without_a_terminal_a_file_outside_is_not_read(shop: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside.py": "far = 1\n"})
    with coding("{}") as (coder, env):
        done = code(shop, "explain", "../outside.py", **env)
    assert "hint: run the command in a terminal\n" in done.stderr
    assert coder.requests == []


def test_a_file_outside_cannot_be_changed(shop: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside.py": "far = 1\n"})
    with coding("{}") as (coder, env):
        done = code(shop, "fix", "--yes", "../outside.py", **env)
    assert "is outside of" in done.stderr
    assert coder.requests == []


def test_review_sends_the_diff(shop: Path) -> None:
    """What is not committed, or only what is staged."""
    write(shop, {"cart.py": "new\n", "tests/test_a.py": "staged\n"})
    git(shop, "add", "tests")
    with coding("Looks good.") as (coder, env):
        assert code(shop, "review", **env).stdout == "Looks good.\n"
        code(shop, "review", "--staged", **env)
    assert "+new\n" in coder.prompt(0)
    assert "+staged\n" in coder.prompt(0)
    assert "+new\n" not in coder.prompt(1)


def test_tests_go_where_the_language_has_them(shop: Path) -> None:
    """And the code that they are for is not changed."""
    with coding(whole(tests__test_cart_py="def test_total(): ...\n")) as (coder, env):
        done = code(shop, "test", "--yes", "cart.py", **env)
    assert done.returncode == 0
    assert "+++ b/tests/test_cart.py" in done.stderr
    assert (shop / "tests/test_cart.py").read_text() == "def test_total(): ...\n"
    assert (shop / "cart.py").read_text() == CODE
    assert CODE in coder.prompt(0)


MESSAGE = json.dumps({"subject": "Add\na thing", "body": "word " * 30})


def test_a_commit_message_is_printed_or_committed_with(shop: Path, tmp_path: Path) -> None:
    """One subject line, and a wrapped body."""
    write(shop, {"cart.py": "new\n"})
    git(shop, "add", ".")
    with coding(MESSAGE) as (coder, env):
        done = code(shop, "commit", "--print", **env)
        subject, empty, *body = done.stdout.splitlines()
        assert (subject, empty) == ("Add a thing", "")
        assert all(len(line) <= 72 for line in body)
        assert git(shop, "log", "--oneline").count("\n") == 1
        with terminal(tmp_path, "code", "commit", folder=shop, **env, **IDENTITY) as t:
            t.expect(r"Add a thing\n(.|\n)*Commit with this message\?.*: ")
            t.send("y\n")
            assert t.wait() == 0
        assert git(shop, "log", "-1", "--format=%s") == "Add a thing\n"
        assert "nothing is staged" in code(shop, "commit", "--yes", **env).stderr
    assert "+new\n" in coder.prompt(0)


def test_completion_is_printed_or_inserted_where_it_is_asked_for(shop: Path) -> None:
    """By the form that the model was trained on."""
    with coding("return sum(prices)") as (coder, env):
        assert code(shop, "complete", "cart.py:2:5", **env).stdout == "return sum(prices)\n"
        done = code(shop, "complete", "cart.py:2", "--insert", "--dry-run", **env)
        assert "+    return sum(prices)" in done.stdout
        assert (shop / "cart.py").read_text() == CODE
        assert code(shop, "complete", "cart.py:2", "--insert", "--yes", **env).returncode == 0
        for place, problem in (
            ("cart.py", "no place"),
            ("cart.py:9", "3 lines"),
            ("cart.py:2:99", "characters"),
        ):
            assert problem in code(shop, "complete", place, **env).stderr
    assert (shop / "cart.py").read_text() == "def total(prices):\n    return sum(prices)\n"
    assert coder.prompt(0) == "def total(prices):\n    \n"


def test_a_hook_begins_the_message_and_keeps_the_one_that_was_there(shop: Path, tmp_path: Path) -> None:
    """It is no obstacle where no daemon runs, and uninstalling puts everything back."""
    hook = shop / ".git/hooks/prepare-commit-msg"
    write(shop, {".git/hooks/prepare-commit-msg": '#!/bin/sh\necho "# of mine" >>"$1"\n'})
    hook.chmod(0o755)
    before = hook.read_bytes()
    editor = f"{sys.executable} -c 'import sys, shutil; shutil.copy(sys.argv[1], \"{tmp_path}/seen\")'"
    assert code(shop, "hook", "install").returncode == 0
    assert "installed already" in code(shop, "hook", "install").stderr
    for env, beginning in (({}, "\n#"), (None, "Add a thing\n\nword ")):
        write(shop, {"cart.py": f"{beginning}\n"})
        git(shop, "add", ".")
        with coding(MESSAGE) as (_, port):
            subprocess.run(
                ["git", "commit", "--quiet", "--allow-empty-message"],
                cwd=shop,
                env=environment(tmp_path, **(port if env is None else env), **IDENTITY, GIT_EDITOR=editor),
                check=True,
                stderr=subprocess.DEVNULL,
            )
        seen = (tmp_path / "seen").read_text()
        assert seen.startswith(beginning)
        assert "# of mine" in seen
    assert code(shop, "hook", "uninstall").returncode == 0
    assert hook.read_bytes() == before
    assert sorted(path.name for path in hook.parent.glob("prepare*")) in (
        ["prepare-commit-msg"],
        ["prepare-commit-msg", "prepare-commit-msg.sample"],
    )
    assert "no hook of edgeinfer's" in code(shop, "hook", "uninstall").stderr


def test_a_model_that_cannot_fill_gaps_is_named_in_words(shop: Path) -> None:
    """The route is llama-server's, and so is the form of its errors."""
    with coding("x", info=msgspec.structs.replace(CODER, fim=None)) as (_, env):
        done = code(shop, "complete", "cart.py:2", **env)
    assert (done.returncode, "fill-in-the-middle tokens\nhint: models made for code can" in done.stderr) == (
        1,
        True,
    )
    assert "{" not in done.stderr


@pytest.mark.parametrize("how", ["outside", "in the project", "by a link"])
def test_a_hook_that_others_would_get_too_is_asked_about(how: str, shop: Path, tmp_path: Path) -> None:
    """Such as where all of a user's repositories share a folder of hooks."""
    folder = shop / ".githooks" if how == "in the project" else tmp_path / "hooks"
    folder.mkdir()
    if how == "by a link":
        shutil.rmtree(shop / ".git/hooks")
        (shop / ".git/hooks").symlink_to(folder)
    else:
        git(shop, "config", "core.hooksPath", ".githooks" if how == "in the project" else str(folder))
    refused = code(shop, "hook", "install")
    assert refused.returncode == 1
    assert f"Git's hooks are in {folder} here" in refused.stderr
    assert refused.stderr.endswith("hint: edgeinfer code hook install --yes\n")
    with terminal(tmp_path, "code", "hook", "install", folder=shop) as t:
        t.expect("Install it\\? .*: ")
        t.settle()
        t.send("n\n")
        assert t.wait() == 1
    assert list(folder.iterdir()) == []
    assert code(shop, "hook", "install", "--yes").returncode == 0
    assert (folder / "prepare-commit-msg").exists()
    assert code(shop, "hook", "uninstall").returncode == 0
    assert list(folder.iterdir()) == []


def test_without_a_daemon_if_running_does_nothing(shop: Path) -> None:
    """And that is no failure: a hook must not stop a commit."""
    write(shop, {"cart.py": "new\n"})
    done = code(shop, "review", "--if-running")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no daemon answers" in done.stderr
    with coding("x") as (_, env):
        done = code(shop, "review", "--if-running", "--staged", **env)
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing is staged" in done.stderr


def test_another_programs_server_will_do(shop: Path) -> None:
    """It is told nothing that only edgeinfer knows, and tokens are guessed if it does not count them."""
    with daemon("Fine.") as server:
        done = code(shop, "ask", "--url", f"127.0.0.1:{server.port}", "--model", "m", "Well?", "cart.py")
    assert done.stdout == "Fine.\n"
    assert set(server.requests[-1]) == {"model", "messages", "max_tokens", "stream", "stream_options"}


def test_what_an_answer_will_repeat_is_sent_as_a_prediction(shop: Path) -> None:
    """A server that knows them guesses tokens from it."""
    with daemon(whole(cart_py="x = 1\n")) as server:
        done = code(shop, "fix", "--dry-run", "--model", "m", "cart.py", EDGEINFER_PORT=server.port)
    assert "+x = 1" in done.stdout
    (sent,) = [request["prediction"] for request in server.requests if "prediction" in request]
    predicted = json.loads(sent["content"])
    assert sent["type"] == "content"
    assert predicted["files"] == [{"file": "cart.py", "content": CODE}]


def test_without_a_sandbox_a_command_may_do_all(shop: Path, tmp_path: Path) -> None:
    """But only one that was typed, where that was typed too."""
    with coding(whole(cart_py="x = 1\n")) as (_, env):
        done = code(shop, "fix", "--yes", "--no-sandbox", "--run", f"touch {tmp_path}/far", "cart.py", **env)
    assert "without a sandbox" in done.stderr
    assert (tmp_path / "far").exists()
