"""The pages for those who come from other servers name what is here, and what theirs is called here."""

from __future__ import annotations

import re

from edgeinfer.cli.foreign_options import foreign_option_hint
from edgeinfer.connect.by_hand import BY_HAND
from edgeinfer.connect.catalogue import APPS
from edgeinfer.settings import FIELDS
from tests.support.pages import CODE
from tests.support.paths import DOCS

SERVE = [f"--{name.replace('_', '-')}" for name in FIELDS]
VARIABLE = re.compile(r"`([A-Z_]+)`")


def rows(page: str, section: str) -> list[list[str]]:
    """The cells of the tables in a section, without their heads."""
    text = (DOCS / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_an_option_of_llama_server_is_called_here_what_the_command_line_says() -> None:
    """`edgeinfer serve` refuses it with the same hint."""
    checked = 0
    for theirs, ours, *_ in rows("from-llama-server.md", "Commands"):
        for option in CODE.findall(theirs):
            named = (foreign_option_hint(option, SERVE) or "").removeprefix("here it is ")
            if named.startswith("--"):
                assert f"`{named}`" in ours, option
                checked += 1
    assert checked >= 10


def test_an_option_here_is_a_setting() -> None:
    options = [
        option
        for _, ours, *_ in rows("from-llama-server.md", "Commands")
        for option in CODE.findall(ours)
        if option.startswith("--")
    ]
    assert [option for option in options if option[2:].replace("-", "_") not in FIELDS] == []


def test_a_variable_of_ollama_is_a_setting_here() -> None:
    """Or one that every program knows."""
    found = rows("from-ollama.md", "Settings")
    assert len(found) > 10
    for theirs, ours, *_ in found[1:]:
        for name in CODE.findall(ours):
            assert name.partition(" ")[0] in FIELDS or name in VARIABLE.findall(theirs), name


def test_the_comparison_counts_the_programs_that_are_configured() -> None:
    page = (DOCS / "comparison.md").read_text()
    assert f"| configures editors and assistants | [● {len(APPS) - len(BY_HAND)}](" in page
