"""What the mirror refuses: writing, hostile paths, and clients without a key."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import (
    HfApi,
    hf_hub_download,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
)

from edgeinfer.hub.mirror import mirror_app
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.store.store import Store
from tests.support.mirror import FILE, NEW, REPO, add, model, serving

DATA = model("q4")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    add(store, DATA)
    return store


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serving(mirror_app(store)) as url:
        yield url


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(url: str, store: Store, method: str) -> None:
    """Neither a file nor a repository."""
    before = store.recorded()
    for path in (f"/{REPO}/resolve/main/{FILE}", f"/api/models/{REPO}", "/api/models", "/"):
        assert httpx.request(method, url + path).status_code == 405
    assert before == store.installed()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"paths=" + b"x" * 100_000, "application/x-www-form-urlencoded", 413),
        (b"paths=\xff&" * 10, "application/x-www-form-urlencoded", 400),
        (b"paths=x&" * 2000, "application/x-www-form-urlencoded", 400),
        (b'{"paths": 1}', "application/json", 400),
        (b'{"x": ' + b"[" * 60_000, "application/json", 400),
        (b'{"paths": ["x"]}', "application/json", 200),
        (b"", "", 200),
    ],
)
def test_a_body_is_small_and_sound(url: str, body: bytes, kind: str, status: int) -> None:
    """The one thing that is read of a client."""
    path = f"{url}/api/models/{REPO}/paths-info/main"
    assert httpx.post(path, content=body, headers={"Content-Type": kind}).status_code == status


HOSTILE = [
    f"/{REPO}/resolve/main/../../../../records/some@Q4_0.json",
    f"/{REPO}/resolve/main/%2e%2e/%2e%2e/records/some@Q4_0.json",
    f"/{REPO}/resolve/main/..%2f..%2f..%2f..%2frecords%2fsome@Q4_0.json",
    f"/{REPO}/resolve/main/%252e%252e/records",
    f"/{REPO}/resolve/main//etc/passwd",
    f"/{REPO}/resolve/main/%2fetc%2fpasswd",
    f"/{REPO}/resolve/main/..\\..\\records",
    f"/{REPO}/resolve/main/..%5c..%5crecords",
    f"/{REPO}/resolve/main/{FILE}%00",
    f"/{REPO}/resolve/main/{FILE}%00.txt",
    f"/{REPO}/resolve/main/./{FILE}",
    f"/{REPO}/resolve/main/link.gguf",
    f"/{REPO}/resolve/%2e%2e/{FILE}",
    f"/{REPO}/resolve/bbbbbbbbbbbb/{FILE}",
    f"/../{REPO}/resolve/main/{FILE}",
    f"/owner/../{REPO}/resolve/main/{FILE}",
    f"/owner/%2e%2e/resolve/main/{FILE}",
    f"/models/{REPO}/{NEW[:12]}/{FILE}",
    "/api/models/../../etc/passwd",
    "/api/models/%2e%2e/%2e%2e",
    f"/api/models/{REPO}/tree/main/../..",
    f"/api/models/{REPO}/tree/main/%2e%2e",
    f"/api/models/{REPO}/revision/..%2f..",
    "/etc/passwd",
    "//etc/passwd",
    "/%00",
    f"http://elsewhere/{REPO}/resolve/main/../x",
]


def test_hostile_paths_find_nothing(url: str, store: Store) -> None:
    """As they are, over a socket: a client would tidy them up."""
    secret = store.root.parent / "secret.gguf"
    secret.write_bytes(model("secret"))
    (store.root / "models" / REPO / NEW[:12] / "link.gguf").symlink_to(secret)
    for target in HOSTILE:
        answer = raw(url, f"GET {target} HTTP/1.1\r\nHost: board\r\nConnection: close\r\n\r\n")
        assert re.match(rb"HTTP/1.1 404 ", answer), target
        assert b"GGUF" not in answer
        assert b"root:" not in answer


def raw(url: str, request: str) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def keyed(store: Store, tmp_path: Path) -> Iterator[str]:
    """A mirror that wants a key, which is "right"."""
    file = tmp_path / "keys"
    file.write_text("right\n")
    file.chmod(0o600)
    with serving(mirror_app(store, keys=KeyFile(file))) as url:
        yield url


def test_a_key_is_the_clients_token(keyed: str, tmp_path: Path) -> None:
    """HF_TOKEN, that is."""
    assert HfApi(endpoint=keyed, token="right").model_info(REPO).sha == NEW
    path = hf_hub_download(REPO, FILE, endpoint=keyed, token="right", cache_dir=tmp_path / "cache")
    assert DATA == Path(path).read_bytes()


@pytest.mark.parametrize("token", [False, "wrong"])
def test_without_a_key_the_client_says_that_it_is_about_the_key(
    keyed: str, tmp_path: Path, token: Any
) -> None:
    """And not that there were no such repository."""
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as raised:
        hf_hub_download(REPO, FILE, endpoint=keyed, token=token, cache_dir=tmp_path / "cache")
    assert raised.value.response.status_code == 401
    assert not isinstance(raised.value, RepositoryNotFoundError)


def test_every_address_is_behind_the_key(keyed: str) -> None:
    """One that is not there as well; and two keys are none."""
    for path in ("/", "/api/models", f"/api/models/{REPO}", f"/{REPO}/resolve/main/{FILE}", "/other"):
        assert httpx.get(keyed + path).status_code == 401
    both = [("Authorization", "Bearer right"), ("Authorization", "Bearer wrong")]
    assert httpx.get(keyed, headers=both).status_code == 401
    assert httpx.get(keyed, headers=both[:1]).status_code == 200
