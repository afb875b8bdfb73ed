"""Where the pages of a site link to, and whether that is there."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

TIMEOUT = 20
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset")}
"""What a browser asks for by itself."""

STYLE = re.compile(r"url\(\s*[\"']?(?:https?:)?//|@import\s+[\"'](?:https?:)?//")
NAMES_NOTHING = re.compile(
    r"https?://(localhost|127\.|\[::1\]|[\w.-]+\.(local|example)\b|[A-Z]+\b)|https?://[\w.]*example\."
)
"""Addresses of the reader's own machines, and of none."""


class Link(NamedTuple):
    """A link, with the file that has it."""

    page: Path
    url: str


class _Reader(HTMLParser):
    """What one page links to, what it has a browser fetch, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif (tag, name) in FETCHED and value:
                self.fetched.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


class Site:
    """A folder of pages."""

    def __init__(self, folder: Path) -> None:
        self._pages = {path: _read(path) for path in sorted(folder.rglob("*.html"))}
        self._styles = sorted(folder.rglob("*.css"))
        self._errors_page = folder / "404.html"  # its links count from the root of a server

    def faults(self) -> Iterator[str]:
        """Yield links that lead nowhere, and whatever a browser would ask another site for."""
        for path, page in self._pages.items():
            if path == self._errors_page:
                continue
            for url in page.fetched:
                if urlsplit(url).netloc:
                    yield f"{path}: fetches {url}"
                elif not self._leads_somewhere(path, url):
                    yield f"{path}: has no {url}"
            for url in page.links:
                if not urlsplit(url).scheme and not self._leads_somewhere(path, url):
                    yield f"{path}: links to {url}, which does not exist"
        for path in self._styles:
            if STYLE.search(path.read_text()):
                yield f"{path}: fetches from another site"

    def external(self) -> Iterator[Link]:
        """Yield the links to other sites, each address once."""
        seen = set()
        for path, page in self._pages.items():
            for url in page.links:
                if url.startswith("http") and not NAMES_NOTHING.match(url) and url not in seen:
                    seen.add(url)
                    yield Link(path, url)

    def _leads_somewhere(self, page: Path, url: str) -> bool:
        parts = urlsplit(url)
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            return False
        anchor = unquote(parts.fragment)
        return not anchor or target not in self._pages or anchor in self._pages[target].anchors


def _read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text())
    return reader


def dead(links: Iterator[Link]) -> Iterator[str]:
    """Ask other sites, several at a time, and yield what is not there."""
    with ThreadPoolExecutor(8) as pool:
        yield from filter(None, pool.map(_ask, links))


def _ask(link: Link) -> str | None:
    request = urllib.request.Request(link.url, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return None
    except urllib.error.HTTPError as e:
        # Some sites refuse programs, and say nothing of the page by that.
        return None if e.code in (401, 403, 429) else f"{link.page}: {link.url}: {e}"
    except OSError as e:
        return f"{link.page}: {link.url}: {e}"
