"""The page's files: open, compressed, cached by their content, and allowed nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgeinfer.server.auth.keys import Key, digest
from edgeinfer.server.web.static_file import STATIC, static_files
from tests.support.server import Scripted, serving

VENDOR = STATIC / "vendor"
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MAX_COMPRESSED = 300_000


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(Scripted()) as served:
        yield served.client


def test_a_browser_gets_the_page_and_anything_else_a_line(client: httpx.Client) -> None:
    page = client.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "assets/app.js" in page.text
    assert client.get("/").headers["content-type"].startswith("text/plain")


def test_everything_that_the_files_refer_to_is_there(client: httpx.Client) -> None:
    for name in static_files():
        if name.startswith("vendor/"):
            continue
        text = (STATIC / name).read_text()
        imports = re.findall(r'(?:from |import\()"(\./[^"]+)"', text)
        links = re.findall(r'(?:src|href)="(assets/[^"]+)"', text)
        for target in [f"assets/{found[2:]}" for found in imports] + links:
            assert client.get(f"/{target}").status_code == 200, (name, target)


def test_the_modules_of_the_first_view_are_loaded_at_once() -> None:
    """Otherwise a browser asks for the next ones only when it has read the ones before."""
    needed: set[str] = set()
    left = ["app.js"]
    while left:
        name = left.pop()
        needed.add(name)
        found = re.findall(r'from ?"\./([^"]+)"', (STATIC / name).read_text())
        left += {str(Path(name).parent / target) for target in found} - needed
    page = (STATIC / "index.html").read_text()
    assert set(re.findall(r'"modulepreload" href="assets/([^"]+)"', page)) == needed - {"app.js"}


def test_the_policy_allows_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/assets/app.js"):
        policy = client.get(path, headers=BROWSER).headers["content-security-policy"]
        sources = {source for part in policy.split(";") for source in part.split()[1:]}
        assert sources == {"'none'", "'self'"}


def test_files_are_compressed_and_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/assets/vendor/marked.js")
    assert first.headers["content-encoding"] == "gzip"
    again = client.get("/assets/vendor/marked.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = client.get("/assets/vendor/marked.js", headers={"accept-encoding": "identity"})
    assert plain.content == first.content == (VENDOR / "marked.js").read_bytes()


def test_the_whole_page_is_small(client: httpx.Client) -> None:
    sizes = {
        name: int(client.get(f"/assets/{name}").headers["content-length"])
        for name in static_files()
        if name != "index.html"
    }
    assert sum(sizes.values()) < MAX_COMPRESSED, sizes


def test_the_files_need_no_key_and_what_they_ask_for_does(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(Key("page", digest(b"secret-of-the-page")).line() + "\n")
    keys.chmod(0o600)
    with serving(Scripted(), api_key_file=str(keys)) as served:
        assert served.client.get("/", headers=BROWSER).status_code == 200
        assert served.client.get("/assets/app.js").status_code == 200
        assert served.client.get("/v1/models").status_code == 401
        assert served.client.get("/status").status_code == 401


def test_no_other_file_can_be_reached(client: httpx.Client) -> None:
    for path in (
        "/assets/../family.py",
        "/assets/%2e%2e/family.py",
        "/assets/vendor/manifest.json",
        "/assets/",
    ):
        response = client.get(path)
        assert response.status_code == 404, path
        assert response.json()["error"]["code"] == "not_found"


def test_libraries_are_the_ones_of_the_manifest_with_their_licences() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    named = {entry["file"]: entry["sha256"] for entry in manifest}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.suffix in (".js", ".css")
    }
    assert found == named
    for entry in manifest:
        licence = VENDOR / f"LICENSE.{entry['package'].replace('@', '').replace('/', '-')}"
        assert licence.stat().st_size > 100
