"""What is on a page of documentation: its text, and its blocks of commands and files."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.paths import ROOT

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def blocks(page: str, kind: str, *, after: str = "") -> list[str]:
    """Return the fenced blocks of a kind ("sh", "python", "nginx"), those below the heading `after` only."""
    text = Path(ROOT, page).read_text()
    if after:
        _, heading, text = text.partition(f"\n## {after}\n")
        assert heading, f"{page} has no section {after!r}"
        text = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: str, section: str, *, without: tuple[str, ...] = ()) -> str:
    """Return the commands of a section as they stand there, except lines that begin with one of `without`."""
    lines = "".join(blocks(page, "sh", after=section)).splitlines()
    assert lines
    return "\n".join(line for line in lines if not line.startswith(without))
