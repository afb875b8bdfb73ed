"""Builds the documentation as a site; scripts/docs-site runs this where Zensical is installed.

The site has the shape of the repository: README.md is its first page, and docs/ is a folder in it. So the links of the
pages work on the site as they do in a checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomllib
from links import Site, dead
from navigation import HOME, INDEX, OTHERS, NavigationError, Page, navigation

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "docs" / "site" / "site.toml"
LINK = re.compile(r"\]\(([^)\s#]+)")


def stage(pages: Path) -> None:
    """Copy what the site has: the pages, what is in docs/, and the other files that the pages link to."""
    shutil.copytree(ROOT / "docs", pages / "docs")
    for name in OTHERS:
        shutil.copy(ROOT / name, pages / name)
    for page in list(pages.rglob("*.md")):
        for link in LINK.findall(page.read_text()):
            target = Path(os.path.normpath(page.parent / link))
            if target.exists() or not target.is_relative_to(pages):
                continue
            source = ROOT / target.relative_to(pages)
            if source.is_dir():
                shutil.copytree(source, target)
                (target / "index.md").write_text(contents(target))
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


def contents(folder: Path) -> str:
    """Return a page with the files of a folder, which a link leads to."""
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return "\n".join([f"# {folder.name}\n", *(f"- [{file}]({file})" for file in files)])


def entries(pages: Iterable[Page]) -> list[dict[str, Any]]:
    """Return pages as Zensical's settings list them."""
    listed: list[dict[str, Any]] = []
    for page in pages:
        if page.children:
            listed.append({page.title: [{page.title: str(page.path)}, *entries(page.children)]})
        else:
            listed.append({page.title: str(page.path)})
    return listed


def settings() -> dict[str, Any]:
    own: dict[str, Any] = tomllib.loads(SETTINGS.read_text())
    nav: list[dict[str, Any]] = [{"edgeinfer": str(HOME)}]
    nav += [{section.title: entries(section.pages)} for section in navigation(ROOT)]
    nav += [{"All pages": str(INDEX)}]
    return {**own, "docs_dir": "pages", "site_dir": "site", "nav": nav}


def build(work: Path) -> Path:
    """Build the site in a folder.

    Raises:
        NavigationError: The index does not list what is there.
        subprocess.CalledProcessError: Zensical has found a fault, and said so.

    """
    config = work / "mkdocs.yml"
    config.write_text(json.dumps(settings()))  # JSON is YAML, too
    stage(work / "pages")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(config)]
    done = subprocess.run(
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode or "No issues found" not in done.stdout:
        sys.stderr.write(done.stdout)
        done.returncode = done.returncode or 1
        done.check_returncode()
    return work / "site"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/docs-site")
    parser.add_argument("--external", action="store_true")
    parser.add_argument("dir", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    if (
        arguments.dir.exists()
        and any(arguments.dir.iterdir())
        and not (arguments.dir / "search.json").exists()
    ):
        print(
            f"error: {arguments.dir} has something else than a site\nhint: name a new folder", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="edgeinfer-docs-") as work:
        try:
            site = build(Path(work).resolve())
        except NavigationError as e:
            print(f"error: {e}\nhint: give it a line in a table of {INDEX}", file=sys.stderr)
            return 1
        except subprocess.CalledProcessError:
            print("error: the pages have faults; nothing was written", file=sys.stderr)
            return 1
        checked = Site(site)
        faults = list(checked.faults())
        if arguments.external:
            faults += dead(checked.external())
        for fault in faults:
            print(f"error: {fault.replace(f'{site}/', '')}", file=sys.stderr)
        if faults:
            return 1
        shutil.rmtree(arguments.dir, ignore_errors=True)
        shutil.copytree(site, arguments.dir)
    print(arguments.dir / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
