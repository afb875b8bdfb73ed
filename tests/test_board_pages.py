"""The pages in docs/boards/: the same parts on each, and every recorded machine on one.

Their quotations of `edgeinfer plan` are held by tests/cli/test_docs.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import commands
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
