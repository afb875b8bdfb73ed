"""The pages in docs/boards/: the same parts on each, every recorded machine on one, and commands that exist.

Their quotations of `edgeinfer plan` are held by tests/cli/test_docs.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgeinfer.cli.app import app
from tests.support.pages import CODE, blocks, commands, prose
from tests.support.paths import DOCS, TREES

PAGES = sorted(path for path in (DOCS / "boards").glob("*.md") if path.name != "README.md")
INDEX = (DOCS / "boards" / "README.md").read_text()

PARTS = [
    "Install",
    "What edgeinfer chooses, and why",
    "What to expect",
    "Cooling and power",
    "Memory and swap",
    "Storage",
    "Pitfalls",
]

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@by_name
def test_every_page_has_the_same_parts_in_the_same_order(page: Path) -> None:
    """A reader knows where to look."""
    assert PARTS == re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)


@by_name
def test_the_index_leads_to_every_page(page: Path) -> None:
    """Also from the table of recorded machines."""
    assert INDEX.count(f"]({page.name})") >= 2


def test_every_recorded_machine_is_in_the_table() -> None:
    """The script that writes it has a name for each."""
    table = INDEX[INDEX.index("| machine |") : INDEX.index("<!-- end -->")]
    records = [path for path in TREES.iterdir() if path.is_dir()]
    assert len(records) == len(table.splitlines()) - 2


def install_commands(name: str) -> list[str]:
    """The commands of a page's first part, without comments and without the board's own name."""
    lines = commands(f"docs/boards/{name}.md", "Install").replace("raspberrypi.local", "BOARD").splitlines()
    return [line.partition("  #")[0] for line in lines]


@pytest.mark.parametrize("name", ["raspberry-pi-4", "rk3588", "jetson", "laptop"])
def test_machines_with_debian_are_set_up_like_a_raspberry_pi_5(name: str) -> None:
    """Its page is tried as it stands there; others may have more commands."""
    usual = install_commands("raspberry-pi-5")
    assert usual == [line for line in install_commands(name) if line in usual]


def command_lines(page: Path) -> Iterator[list[str]]:
    """The arguments of each `edgeinfer` that the page tells to type, in a block or within a sentence."""
    lines = "".join(blocks(str(page.relative_to(DOCS.parent)), "sh")).replace("\\\n", " ").splitlines()
    for line in [*lines, *CODE.findall(prose(page))]:
        words = shlex.split(line, comments=True) if "edgeinfer" in line else []
        if "edgeinfer" in words:  # the last one: containers and folders may have that name too
            words = words[len(words) - words[::-1].index("edgeinfer") :]
            if words and not words[0].startswith("-"):
                yield words


@by_name
def test_every_command_on_it_exists_with_these_options(page: Path) -> None:
    """It is parsed as the command line does it, and not run."""
    found = 0
    for words in command_lines(page):
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_parser(command.context_class(command)).parse_args(words)
        found += 1
    assert found
