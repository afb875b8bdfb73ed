"""The help of every command, and what is said about words that are not known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from edgeinfer.cli.app import app
from tests.support.cli import run


def _pages(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    context = command.make_context(path, [], parent=parent, resilient_parsing=True, terminal_width=80)
    yield path, command.get_help(context)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _pages(inner, f"{path} {name}", context)


def test_every_page_fits_into_80_columns() -> None:
    """Also the examples, which are laid out by hand, and no first sentence is cut."""
    pages = dict(_pages(get_command(app), "edgeinfer"))
    assert len(pages) > 40
    lines = [(path, line) for path, page in pages.items() for line in page.splitlines()]
    assert [(path, line) for path, line in lines if len(line) > 80] == []
    assert [(path, line) for path, line in lines if line.endswith("...") and "[" not in line] == []


@pytest.mark.parametrize("command", ["bench", "serve"])
def test_own_options_come_before_the_settings(command: str, tmp_path: Path) -> None:
    shown = run(tmp_path, command, "--help").stdout
    own, _, settings = shown.partition("\nSettings of the model")
    assert "--help" in own
    assert "\n  --ctx" not in own
    assert "\n  --ctx" in settings
    assert ("\nSettings of the daemon:" in settings) == (command == "serve")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("sattus", "No such command 'sattus'. Did you mean 'status'?"),
        ("models lst", "No such command 'lst'. Did you mean 'ls'?"),
        ("models pull x", "No such command 'pull'. Did you mean 'edgeinfer pull'?"),
        ("service logs", "No such command 'logs'. Did you mean 'edgeinfer logs'?"),
        ("prune", "No such command 'prune'. Did you mean 'edgeinfer models prune'?"),
        ("xyzzy", "No such command 'xyzzy'."),
        ("--verison", "No such option: --verison. Did you mean --version?"),
        ("serve --modle x", "No such option: --modle. Did you mean --model?"),
        ("chat --max_tokens 3", "No such option: --max_tokens. Did you mean --max-tokens?"),
        ("chat -m x", "No such option: -m; here it is --model"),
        ("bench -ngl 3", "No such option: -ngl; here it is --gpu-layers"),
        ("status --qqq", "No such option: --qqq."),
        ("serve --kv-type q8", "not 'q8'; did you mean q8_0?"),
        ("serve --log-level warn", "not 'warn'; did you mean warning?"),
        ("completion zhs", "not 'zhs'; did you mean zsh?"),
    ],
)
def test_what_was_meant_is_told(arguments: str, meant: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments.split(), COLUMNS="200")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{meant}\n" in done.stderr


def test_an_option_of_another_server_is_a_question_after_two_dashes(tmp_path: Path) -> None:
    done = run(tmp_path, "chat", "--url", "http://127.0.0.1:1", "--", "-m")
    assert done.returncode == 1
    assert "no daemon answers" in done.stderr
