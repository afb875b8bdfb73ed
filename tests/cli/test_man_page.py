"""The manual page, which `scripts/docs` writes from the commands."""

from __future__ import annotations

import subprocess

import pytest

from edgeinfer.settings import FIELDS
from tests.support.debian_programs import find_program
from tests.support.paths import ROOT

PAGE = ROOT / "share/man/man1/edgeinfer.1"


def test_it_is_well_formed() -> None:
    done = subprocess.run(
        [find_program("mandoc"), "-T", "lint", "-W", "warning", PAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@pytest.fixture(scope="module")
def shown() -> str:
    done = subprocess.run(
        [find_program("mandoc"), "-T", "ascii", PAGE], capture_output=True, text=True, check=True
    )
    return (
        "".join(part[:-1] for part in f"{done.stdout} ".split("\b")) if "\b" in done.stdout else done.stdout
    )


@pytest.mark.parametrize("name", ["edgeinfer chat", "edgeinfer code fix", "edgeinfer models import"])
def test_it_has_every_command(name: str, shown: str) -> None:
    assert f"\n   {name}\n" in shown


def test_it_has_every_setting(shown: str) -> None:
    missing = [name for name in FIELDS if f"--{name.replace('_', '-')}" not in shown]
    assert missing == []


def test_what_roff_would_take_for_its_own_is_shown_as_it_is(shown: str) -> None:
    assert 'git log -1 | edgeinfer chat "What is it?"' in shown
    assert "configuration folder" in shown
