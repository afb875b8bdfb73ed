"""Reads pages of links to wheels, and wheels, from web servers; it needs nothing but Python's standard library."""

from __future__ import annotations

import base64
import http.client
import re
import urllib.parse
import urllib.request
from html.parser import HTMLParser

TIMEOUT = 60.0
"""Seconds to wait for a machine that may be a small board."""


class Links(HTMLParser):
    """The links of a page on a web server."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page, content = open_page(page)
        self.urls: list[str] = []
        self.feed(content.decode("utf-8", "replace"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.urls.append(urllib.parse.urljoin(self.page, href))


def file_name(file: str) -> str:
    """Return the name of a wheel, "" if a path or an address is none."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(file).path if "://" in file else file).rpartition("/")[
        2
    ]
    return name if name.endswith(".whl") else ""


def read(url: str) -> bytes:
    """Read from a web server, with the user and password of the URL if it has some."""
    return open_page(url)[1]


def open_page(url: str) -> tuple[str, bytes]:
    """Return also the address that the server has sent us on to: that of a folder ends with a slash.

    Raises:
        OSError: nothing answers, or something that is no web server, or only a part has come.
        ValueError: it is no address.
    """
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        urllib.parse.urlunsplit(parts._replace(netloc=host)), headers={"Accept": "text/html, */*;q=0.1"}
    )
    if at:
        secret = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            moved = urllib.parse.urlsplit(response.url)
            if moved.netloc == host:
                moved = moved._replace(netloc=parts.netloc)
            return urllib.parse.urlunsplit(moved), response.read()
    except http.client.InvalidURL as e:
        raise ValueError(str(e)) from e
    except http.client.HTTPException as e:
        raise OSError(f"the answer is damaged or cut off ({e!r:.100})") from e


def hide_login(place: str) -> str:
    return re.sub(r"//[^/]*@", "//", place)
