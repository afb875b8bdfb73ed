"""Every command and setting that the documentation tells to type exists, with these options."""

from __future__ import annotations

import html
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgeinfer.cli.app import app
from tests.support.pages import CODE, blocks, prose
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "text", "console")

COMMAND = re.compile(
    r"(?:^|\| )(?:\$ |sudo |docker \w+ (?:-\w+ )*edgeinfer |[A-Z_]+=\S+ )*edgeinfer ([a-z].*)"
)
END = re.compile(r"  +|\s[#|>]\s?|;|\\\|| …| \.\.\.")
"""What follows is no part of the command: a comment, a pipe, what stands beside it."""

PROGRAM: Any = typer.main.get_command(app)

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def command_lines(page: Path) -> Iterator[list[str]]:
    """The arguments of each `edgeinfer` that the page tells to type, in a block or within a sentence."""
    name = str(page.relative_to(ROOT))
    lines = (
        "".join(block for kind in SHELLS for block in blocks(name, kind)).replace("\\\n", " ").splitlines()
    )
    for line in [*lines, *CODE.findall(prose(page))]:
        if found := COMMAND.search(line):
            yield shlex.split(END.split(found[1])[0])


def parse(line: list[str]) -> None:
    """Read a command as the command line does it, and do not run it."""
    rest = list(line)
    command = PROGRAM
    while hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, f"edgeinfer {shlex.join(line)}"
        command = command.commands[rest.pop(0)]
    try:
        command.make_parser(command.context_class(command)).parse_args(list(rest))
    except Exception:
        try:  # some commands read their words in a way of their own
            command.make_context(command.name, list(rest))
        except Exception as e:
            pytest.fail(f"edgeinfer {shlex.join(line)}: {e}")


@by_name
def test_every_command_exists_with_these_options(page: Path) -> None:
    for line in command_lines(page):
        parse(line)


def test_the_recorded_terminal_shows_commands_that_exist() -> None:
    """If this fails: change them in scripts/pictures, and run it."""
    session = runpy.run_path(str(ROOT / "scripts" / "pictures"))["SESSION"]
    shown = html.unescape((ROOT / "docs" / "pictures" / "terminal.svg").read_text()).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    for command in session:
        parse(shlex.split(command)[1:])
        assert command in shown


def test_commands_are_found_on_the_pages() -> None:
    """The test above looks at something."""
    assert sum(len(list(command_lines(page))) for page in PAGES) > 300
