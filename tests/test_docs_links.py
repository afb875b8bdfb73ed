"""Every link, path and class that the documentation names exists, and every page is in its index."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import CODE, prose
from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "scripts/site"))  # whose modules import one another by bare names
from navigation import INDEX, NavigationError, navigation

sys.path.remove(str(ROOT / "scripts/site"))

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
STRUCTURE = ROOT / "docs" / "structure.md"
PACKAGE = ROOT / "edgeinfer"

LINK = re.compile(r"\]\(([^)\s]+)\)")
PICTURE = re.compile(r"""(?:src|srcset)="([^"]+)"|!\[[^\]]*\]\(([^)\s]+)\)""")
FOLDERS = ("edgeinfer/", "tests/", "scripts/", "docs/", "systemd/", "requirements/", ".ci/")
HUB_REPOS = ("edgeinfer/edgeinfer-nano-GGUF",)
"""These look like paths."""


def links(page: Path) -> Iterator[str]:
    """Relative links, with the heading after #."""
    yield from (link for link in LINK.findall(prose(page)) if "://" not in link)


def paths(page: Path) -> Iterator[str]:
    """Paths in backticks that begin at the root of the repository; of a command, the command itself."""
    for code in CODE.findall(prose(page)):
        path = code.split()[0].partition("::")[0]
        if path.startswith(FOLDERS) and path not in HUB_REPOS:
            yield path


def headings(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def exists_below(folder: Path, path: str) -> bool:
    """A file or folder with this path, or whose path ends with it."""
    return (folder / path).exists() or any(folder.rglob(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    """Links to other sites are not followed."""
    broken = []
    for link in links(page):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (heading and heading not in headings(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_in_backticks_exists(page: Path) -> None:
    """A reader can open it."""
    assert [path for path in paths(page) if not (ROOT / path).exists()] == []


def test_the_map_of_the_code_names_modules_and_packages_that_exist() -> None:
    """docs/structure.md writes them without `edgeinfer/`."""
    names = [code for code in CODE.findall(prose(STRUCTURE)) if code.endswith((".py", "/"))]
    assert len(names) > 30
    missing = [name for name in names if not exists_below(PACKAGE, name) and not (ROOT / name).exists()]
    assert missing == []


def test_the_map_of_the_code_names_classes_that_exist() -> None:
    """A renamed class is renamed there too."""
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    classes = set(re.findall(r"^class (\w+)", source, re.MULTILINE))
    named = re.findall(r"`([A-Z][a-z]+[A-Za-z]*)(?:\.\w+)?`", prose(STRUCTURE))
    assert len(named) > 20
    assert sorted(set(named) - classes) == []


def test_every_package_is_on_the_map_of_the_code() -> None:
    """A new one gets a line."""
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    text = prose(STRUCTURE)
    assert [
        name for name in sorted(packages) if f"| `{name}/" not in text and f"` `{name}/`" not in text
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_site_reads_the_page_as_github_does(page: Path) -> None:
    """Its Markdown loses a block of code within a list, and a list that no blank line parts from the text before it.

    tests/scripts/test_docs_site.py compares the results.
    """
    assert re.findall(r"^ +```.*$", page.read_text(), re.MULTILINE) == []
    assert re.findall(r"^(?![-#\s|]|\d+\. |<!--).*\n(?:- |1\. ).*$", prose(page), re.MULTILINE) == []


def test_every_picture_is_there_and_shown() -> None:
    """Small, since everybody who clones the repository gets them. scripts/pictures makes them."""
    shown = {
        (page.parent / (html or markdown)).resolve()
        for page in PAGES
        for html, markdown in PICTURE.findall(prose(page))
    }
    pictures = set((ROOT / "docs" / "pictures").iterdir())
    assert shown == pictures
    assert sum(path.stat().st_size for path in pictures) < 400_000


def test_every_page_is_in_the_navigation() -> None:
    """If this fails: give the page a line in a table of docs/README.md, which the site's navigation is made of."""
    sections = navigation(ROOT)
    assert sections[0].title == "Start"
    assert sections[-1].title == "For developers"


def test_a_page_that_the_index_does_not_list_is_named(tmp_path: Path) -> None:
    """So is a line without a page."""
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/new.md"):
        (tmp_path / name).touch()
    lines = "## All\n\n| page | |\n|---|---|\n| [Contributing](../CONTRIBUTING.md) | |\n| [News](../CHANGELOG.md) | |\n"
    (tmp_path / INDEX).write_text(lines)
    with pytest.raises(NavigationError, match=r"does not list docs/new\.md"):
        navigation(tmp_path)
    (tmp_path / INDEX).write_text(f"{lines}| [New](new.md) | |\n| [Old](old.md) | |\n")
    with pytest.raises(NavigationError, match=r"does not exist: docs/old\.md"):
        navigation(tmp_path)
