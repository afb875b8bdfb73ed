"""What a terminal gets and what a pipe gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeinfer.store.store import Store
from tests.support.cli import run, terminal
from tests.support.stored import adopt

BOLD = "\x1b[1m"


def shown(home: Path, *arguments: str, term: str = "xterm", columns: str = "50", color: str = "") -> str:
    """What the command writes to a terminal."""
    with terminal(home, *arguments, TERM=term, COLUMNS=columns, NO_COLOR=color) as opened:
        assert opened.wait() == 0
        return opened.seen


def test_a_pipe_gets_whole_lines_without_colours(tmp_path: Path) -> None:
    """However narrow the terminal is that COLUMNS speaks of, so that a script can rely on them."""
    stored = adopt(Store(tmp_path / "store"), name="mine")
    narrow, wide = (run(tmp_path, "models", "ls", COLUMNS=columns).stdout for columns in ("30", "200"))
    assert narrow == wide
    assert "\x1b" not in narrow
    assert f"{stored.path}\n" in narrow


def test_a_terminal_gets_lines_that_fit_and_a_heading_in_bold(tmp_path: Path) -> None:
    """Of a path the end is left, which tells more."""
    adopt(Store(tmp_path / "store"), name="mine")
    heading, *rows = shown(tmp_path, "models", "ls", columns="70").splitlines()
    assert heading.startswith(f"{BOLD}NAME ")
    assert [len(row) for row in rows if len(row) > 70] == []
    assert rows[-1].endswith("some-Q4_0.gguf")
    assert "…" in rows[-1]


@pytest.mark.parametrize(("term", "color"), [("dumb", ""), ("xterm", "1")], ids=["TERM=dumb", "NO_COLOR"])
def test_a_terminal_without_colours_gets_none(term: str, color: str, tmp_path: Path) -> None:
    assert "\x1b" not in shown(tmp_path, "connect", term=term, color=color)


def test_colours_can_be_forced_into_a_pipe_and_no_color_is_stronger(tmp_path: Path) -> None:
    assert run(tmp_path, "connect", FORCE_COLOR="1").stdout.startswith(BOLD)
    assert "\x1b" not in run(tmp_path, "connect", FORCE_COLOR="0").stdout
    assert "\x1b" not in run(tmp_path, "connect", FORCE_COLOR="1", NO_COLOR="1").stdout


def test_the_list_of_apps_is_data_too(tmp_path: Path) -> None:
    apps = json.loads(run(tmp_path, "connect", "--json", PATH="").stdout)
    assert {"name": "zed", "state": None, "title": "Zed", "context": 8192} in apps
    assert run(tmp_path, "connect", "zed", "--json").returncode == 2


def test_details_are_words_not_python(tmp_path: Path) -> None:
    text = run(tmp_path, "models", "show", "qwen3-0.6b").stdout
    assert "temperature 0.6, top_k 20, top_p 0.95, min_p 0\n" in text
    assert "{" not in text


def test_on_a_narrow_terminal_messages_break_between_words_and_commands_stay_whole(tmp_path: Path) -> None:
    with terminal(tmp_path, "connect", "zed", "--check", COLUMNS="44") as opened:
        assert opened.wait() == 1
        lines = opened.seen.splitlines()
    assert lines[:3] == [
        "error: it could not be tried: no daemon",
        "answers at http://127.0.0.1:1",
        "hint: start one in another terminal:",
    ]
    assert lines[-1].endswith("edgeinfer connect zed --check")


def test_in_a_pipe_messages_stay_whole(tmp_path: Path) -> None:
    said = run(tmp_path, "connect", "zed", "--check", COLUMNS="44").stderr
    assert said.startswith("error: it could not be tried: no daemon answers at http://127.0.0.1:1\n")
