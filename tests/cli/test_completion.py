"""Shells complete commands, options and names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeinfer.cli.completion_scripts import SCRIPTS, VARIABLE, user_file
from edgeinfer.cli.completion_words import next_words
from edgeinfer.store.store import Store
from tests.support.cli import HEAVY, Terminal, environment, run
from tests.support.shells import fish, zsh
from tests.support.stored import adopt

CASES = [
    ("edgeinfer mod", "edgeinfer models "),
    ("edgeinfer connect ze", "edgeinfer connect zed "),
    ("edgeinfer serve --log-l", "edgeinfer serve --log-level "),
    ("edgeinfer serve --log-level war", "edgeinfer serve --log-level warning "),
    ("edgeinfer chat --model twin:Q8", "edgeinfer chat --model twin:Q8_0 "),
    ("edgeinfer chat --schema some", "edgeinfer chat --schema something.json "),
]
"""What is on the line before Tab, and after it."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user with two models and a file."""
    for quant in ("Q4_0", "Q8_0"):
        adopt(Store(tmp_path / "store"), name="twin", quant=quant, file=f"twin-{quant}.gguf")
    (tmp_path / "something.json").touch()
    return tmp_path


@contextmanager
def shell(home: Path, command: list[str], *lines: str, **env: str) -> Iterator[Terminal]:
    opened = Terminal(home, command=command, folder=home, TERM="xterm", PS1="$ ", **env)
    try:
        opened.send("".join(f"{line}\n" for line in lines) + "echo be''gun\n")
        opened.expect("begun")
        yield opened
    finally:
        opened.close()


def completed(opened: Terminal, typed: str) -> str:
    """Type, press Tab, and have the shell print its line and empty it."""
    opened.send(f"{typed}\t")
    opened.settle()
    opened.send("\x07")
    found = re.search(r"\[\[(.*)\]\]", opened.expect(r"\[\[.*\]\]"))
    assert found
    return found[1]


@pytest.mark.slow
def test_bash_completes(home: Path) -> None:
    (home / "script").write_text(SCRIPTS["bash"])
    show = """bind -x '"\\C-g": echo "[[$READLINE_LINE]]"; READLINE_LINE='"""
    with shell(home, ["bash", "--norc", "-i"], "source ./script", show) as opened:
        for typed, line in CASES:
            assert completed(opened, typed) == line


@pytest.mark.slow
def test_zsh_completes(home: Path) -> None:
    command, first = zsh()
    (home / "script").write_text(SCRIPTS["zsh"])
    lines = (first, "autoload -Uz compinit; compinit -D", "source ./script")
    show = ('show() { zle -I; print "[[$BUFFER]]"; BUFFER= }', "zle -N show", "bindkey '^G' show")
    with shell(home, command, *lines, *show) as opened:
        for typed, line in CASES:
            assert completed(opened, typed) == line


@pytest.mark.slow
def test_fish_completes(home: Path) -> None:
    command, env = fish()
    (home / "script").write_text(SCRIPTS["fish"])
    for typed, line in CASES:
        done = subprocess.run(
            [*command, "-c", f"source ./script; complete -C '{typed}'"],
            cwd=home,
            env=environment(home, **env),
            capture_output=True,
            text=True,
            check=True,
        )
        assert [found.split("\t")[0] for found in done.stdout.splitlines()] == [line.split()[-1]]


def test_nothing_heavy_is_imported(home: Path) -> None:
    """On a small board an import is a long time, and Tab is pressed often."""
    code = (
        "import sys; from edgeinfer.cli import main; sys.argv = ['edgeinfer', sys.argv[1]]; main();"
        f" print([m for m in {(*HEAVY, 'asyncio', 'pydantic', 'prompt_toolkit')} if m in sys.modules])"
    )
    for line in (
        "edgeinfer ",
        "edgeinfer chat --model ",
        "edgeinfer pull ",
        "edgeinfer connect ",
        "edgeinfer chat --url ",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, line],
            capture_output=True,
            text=True,
            env=environment(home, **{VARIABLE: "line"}),
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "[]", line


@pytest.mark.parametrize(
    ("before", "typed", "words"),
    [
        ([], "plan", ["plan"]),
        (["models"], "l", ["ls", "load"]),
        (["models", "load"], "twin:", ["twin:Q4_0", "twin:Q8_0"]),
        (["models", "rm"], "tw", ["twin", "twin:Q4_0", "twin:Q8_0"]),
        (["rm"], "twin:Q4", ["twin:Q4_0"]),
        (["serve"], "tw", ["twin", "twin:Q4_0", "twin:Q8_0"]),
        (["pull"], "qwen3-0.6", ["qwen3-0.6b"]),
        (["chat", "--model", "x"], "--te", ["--temperature"]),
        (["bench"], "--kv-type=q4", ["--kv-type=q4_0"]),
        (["serve", "--host"], "0", ["0.0.0.0"]),
        (["status", "--url"], "http://pi5", ["http://pi5:11435"]),
        (["completion"], "z", ["zsh"]),
        (["chat", "--temperature"], "", []),
        (["chat", "--schema"], "", [":files"]),
        (["code", "fix", "a.py"], "b", [":files"]),
        (["no-such-command"], "", []),
    ],
)
def test_words_fit_their_place(
    before: list[str], typed: str, words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEINFER_STORE", str(home / "store"))
    monkeypatch.setenv("EDGEINFER_PEERS", "http://pi5:11435, http://pi4:11435")
    found = [word for word, _ in next_words(before, typed)]
    assert set(found) == set(words)


def test_a_broken_configuration_completes_nothing_and_says_nothing(home: Path) -> None:
    done = run(home, "edgeinfer chat --model ", EDGEINFER_NONSENSE="1", **{VARIABLE: "line"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestInstallation:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_is_written_where_the_shell_looks(self, shell: str, tmp_path: Path) -> None:
        env = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        done = run(tmp_path, "completion", shell, "--install", **env)
        file = user_file(shell, env)
        assert (done.returncode, done.stdout) == (0, "")
        assert f"wrote {file}" in done.stderr
        assert file.read_text() == SCRIPTS[shell] == run(tmp_path, "completion", shell).stdout

    def test_the_shell_is_the_users_own(self, tmp_path: Path) -> None:
        done = run(tmp_path, "--install-completion", SHELL="/usr/bin/fish")
        assert (tmp_path / ".config/fish/completions/edgeinfer.fish").exists()
        assert done.returncode == 0
        assert run(tmp_path, "completion", SHELL="/bin/tcsh").returncode == 2

    def test_the_files_of_an_installation_are_those_that_the_command_prints(self) -> None:
        """They go into the wheel, see scripts/docs."""
        from tests.support.paths import ROOT

        share = ROOT / "share"
        assert (share / "bash-completion/completions/edgeinfer").read_text() == SCRIPTS["bash"]
        assert (share / "zsh/site-functions/_edgeinfer").read_text() == SCRIPTS["zsh"]
        assert (share / "fish/vendor_completions.d/edgeinfer.fish").read_text() == SCRIPTS["fish"]
