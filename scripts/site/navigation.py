"""The order of the documentation's pages, read from docs/README.md.

Each section there is a heading and a table, whose first column links to a page. A page called README.md brings the
other pages of its folder along, in the order in which it links to them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INDEX = Path("docs/README.md")
HOME = Path("README.md")
OTHERS = (HOME, Path("CONTRIBUTING.md"), Path("CHANGELOG.md"))
"""Pages beside docs/."""

SECTION = re.compile(r"^## ([^\n]+)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)#\s]+)\) \|", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\(([\w-]+\.md)\)")


class NavigationError(Exception):
    """A page that the index does not list, or lists twice, or that is not there."""


class Page(NamedTuple):
    """A page, by its path in the repository, with the pages that belong to it."""

    title: str
    path: Path
    children: tuple[Page, ...] = ()


class Section(NamedTuple):
    title: str
    pages: tuple[Page, ...]


def navigation(root: Path) -> list[Section]:
    """Return the sections of the index.

    Raises:
        NavigationError: A page is missing from the index, or is in it twice, or does not exist.

    """
    index = (root / INDEX).read_text()
    sections = [
        Section(title, tuple(_page(root, name, link) for name, link in ROW.findall(rows)))
        for title, rows in SECTION.findall(index)
    ]
    listed = [HOME, INDEX, *_paths(page for section in sections for page in section.pages)]
    there = {path.relative_to(root) for path in (root / "docs").rglob("*.md")} | set(OTHERS)
    for path in sorted(there.symmetric_difference(listed)):
        what = "does not list" if path in there else "has a line for a page that does not exist:"
        raise NavigationError(f"{INDEX} {what} {path}")
    if twice := {path for path in listed if listed.count(path) > 1}:
        raise NavigationError(f"{INDEX} lists twice: {', '.join(map(str, sorted(twice)))}")
    return sections


def _page(root: Path, title: str, link: str) -> Page:
    path = Path(os.path.normpath(INDEX.parent / link))
    if path.name != "README.md" or not (root / path).exists():
        return Page(title, path)
    links = dict.fromkeys(LINK.findall((root / path).read_text()))
    found = {path.parent / name: title for title, name in reversed(links)}  # the first title of a page counts
    return Page(title, path, tuple(Page(title, child) for child, title in reversed(found.items())))


def _paths(pages: Iterator[Page]) -> Iterator[Path]:
    for page in pages:
        yield page.path
        yield from _paths(iter(page.children))
