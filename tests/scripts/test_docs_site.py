"""scripts/docs-site: the documentation as a web site, whole and without a foreign request."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.support.browser import run_in_browser
from tests.support.paths import DOCS, ROOT

sys.path.insert(0, str(ROOT / "scripts/site"))  # whose modules import one another by bare names
from links import Link, Site, dead

sys.path.remove(str(ROOT / "scripts/site"))

needs_zensical = pytest.mark.skipif(sys.version_info < (3, 11), reason="Zensical needs Python 3.11")

COUNTED = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "pre", "p", "em", "strong", "img")
"""Elements that a reader would miss, and that Markdown's dialects disagree about."""


class Counts(HTMLParser):
    """How often a page has each element, in its article if it has one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self._is_inside = "<article" not in html
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            self._is_inside = True
        elif self._is_inside and tag in COUNTED:
            self.seen[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._is_inside = False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [str(ROOT / "scripts" / "docs-site"), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
        check=False,
    )
    assert (0, f"{folder}/index.html\n") == (done.returncode, done.stdout), done.stderr
    return folder


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    """A page, an anchor, a picture, and whatever a browser would fetch from another site."""
    (tmp_path / "index.html").write_text(
        '<link href="https://fonts.example/a.css"><h1 id="here"></h1><a href="#here">1</a> <a href="other.html#x">2</a>'
        ' <a href="#there">3</a> <a href="gone.html">4</a> <img src="gone.png"> <a href="https://other.example">5</a>'
    )
    (tmp_path / "other.html").write_text('<h1 id="x"></h1>')
    (tmp_path / "style.css").write_text("body { background: url(https://pictures.example/a.png) }")
    faults = [fault.replace(f"{tmp_path}/", "") for fault in Site(tmp_path).faults()]
    assert faults == [
        "index.html: fetches https://fonts.example/a.css",
        "index.html: has no gone.png",
        "index.html: links to #there, which does not exist",
        "index.html: links to gone.html, which does not exist",
        "style.css: fetches from another site",
    ]


class Half(BaseHTTPRequestHandler):
    """A site that has one page, and refuses programs on another."""

    def do_GET(self) -> None:
        self.send_response({"/there": 200, "/private": 403}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_pages_of_other_sites_that_are_gone_are_named() -> None:
    """`--external` asks for them; a site that lets no program in says nothing of the page by that."""
    with HTTPServer(("127.0.0.1", 0), Half) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        page = Path("index.html")
        found = list(dead(Link(page, f"{url}/{name}") for name in ("there", "private", "gone")))
        server.shutdown()
    assert found == [f"index.html: {url}/gone: HTTP Error 404: Not Found"]


def test_addresses_of_the_readers_own_machines_are_not_asked(tmp_path: Path) -> None:
    links = (
        "http://127.0.0.1:11435",
        "http://pi5.local:11435",
        "https://ai.example",
        "https://a.org/b",
        "https://a.org/b",
    )
    (tmp_path / "index.html").write_text("".join(f'<a href="{link}">x</a>' for link in links))
    assert [link.url for link in Site(tmp_path).external()] == ["https://a.org/b"]


@needs_zensical
@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_has_on_the_site_what_it_has_in_the_repository(page: Path, site: Path) -> None:
    """The site's Markdown joins a list to the paragraph before it, unless a blank line parts them."""
    written = MarkdownIt("commonmark", {"html": True}).enable("table").render(page.read_text())
    target = site / page.relative_to(ROOT)
    built = target.with_name("index.html") if page.name == "README.md" else target.with_suffix(".html")
    assert Counts(written).seen == Counts(built.read_text()).seen


@needs_zensical
@pytest.mark.slow
@pytest.mark.alone
def test_the_site_is_read_and_searched_from_a_folder(site: Path, tmp_path: Path) -> None:
    """In a browser without a network; nothing is fetched from elsewhere, and the reader's colours are kept."""
    seen = run_in_browser("chromium", "docs_site", f"file://{site}", tmp_path, words="ollama_port")
    assert seen["foreign"] == []
    assert seen["errors"] == []
    assert any("ollama_port" in result for result in seen["found"]), seen["found"]
    assert seen["schemes"] == {"light": "default", "dark": "slate"}
