"""The mirror as it is served: who may ask, what a client may do to others, and that a file is the one of its record."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.cli.mirror_server import mirror_server
from edgeinfer.hub import open_file_response
from edgeinfer.hub.repo_index import BUNDLED_REPO
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.server.http.server import HTTPServer
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support.mirror import add, model, serving, stored
from tests.support.raw_http import connected, read_all, read_until


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    add(store, model("q4"))
    return store


def server(store: Store, keys: Any = None, **settings: Any) -> HTTPServer:
    return mirror_server(store, Settings(port=0, **settings), keys)


HERE = {"localhost": True, "127.0.0.1:11436": True, "[::1]": True}
LOCAL = {
    "192.168.1.5": True,
    "[fe80::1]:80": True,
    "board": True,
    "board.lan:11436": True,
    "x.home.arpa": True,
}
FOREIGN = {"evil.example": False, "localhost.evil.example": False, "1.2.3.4.nip.io": False, "": False}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", HERE | dict.fromkeys(LOCAL, False) | FOREIGN),
        ("0.0.0.0", HERE | LOCAL | FOREIGN),
    ],
)
def test_a_web_page_cannot_reach_it_under_a_name_of_its_own(
    store: Store, host: str, expected: dict[str, bool]
) -> None:
    """DNS rebinding: in a network, names that only this network can have are let in, and addresses."""
    with serving(server(store, host=host)) as url:
        for name, allowed in expected.items():
            found = httpx.get(f"{url}/api/models", headers={"host": name})
            assert (found.status_code == 200) is allowed, name
            assert allowed or "error" in found.json()


def test_names_of_the_settings_and_keys_open_it(store: Store, tmp_path: Path) -> None:
    """As they do for the daemon."""
    with serving(server(store, allowed_hosts="models.example")) as url:
        assert httpx.get(f"{url}/", headers={"host": "models.example"}).status_code == 200
    keys = tmp_path / "keys"
    keys.write_text("right\n")
    keys.chmod(0o600)
    with serving(server(store, KeyFile(keys), host="0.0.0.0")) as url:
        headers = {"host": "any.example", "authorization": "Bearer right"}
        assert httpx.get(f"{url}/", headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_a_foreign_page_is_refused(store: Store, origin: str) -> None:
    """Its browser would withhold the answer; it does not even get one."""
    with serving(server(store)) as url:
        refused = httpx.get(f"{url}/api/models", headers={"origin": origin})
        assert (refused.status_code, "cors_origins" in refused.json()["error"]) == (403, True)
        assert httpx.get(f"{url}/api/models", headers={"origin": url}).status_code == 200


def test_bodies_that_do_not_end_keep_nobody_out(store: Store) -> None:
    """Three hundred of them; one that is too large is refused at once."""
    head = f"POST /api/models/{BUNDLED_REPO}/paths-info/main HTTP/1.1\r\nHost: localhost\r\n"
    with serving(server(store)) as url, ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        for _ in range(300):
            sock = stack.enter_context(connected(port))
            sock.sendall(f"{head}Content-Length: 100\r\n\r\nx".encode())
        assert httpx.get(f"{url}/api/models").status_code == 200
        for framing in ("Content-Length: 70000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n11170\r\n"):
            with connected(port) as sock:
                sock.sendall((head + framing).encode() + b"x" * 70_000 + b"\r\n")
                assert b" 413 " in read_until(sock, b"}")


@pytest.fixture
def imported(store: Store, tmp_path: Path) -> StoredModel:
    """A model outside the store, with another file beside it that is one, too."""
    path = tmp_path / "imported.gguf"
    path.write_bytes(model("imported"))
    (tmp_path / "other.gguf").write_bytes(model("other"))
    return store.record(stored(model("imported"), path=path, repo="local/imported", file="imported.gguf"))


def test_a_path_that_is_swapped_all_the_time_never_leads_to_another_file(
    store: Store, imported: StoredModel, tmp_path: Path
) -> None:
    """The file is opened once; what is checked is what is sent."""
    link, real, over = tmp_path / "link", tmp_path / "real", threading.Event()
    real.hardlink_to(imported.path)

    def swap() -> None:
        while not over.is_set():
            link.symlink_to(tmp_path / "other.gguf")
            link.rename(imported.path)
            (tmp_path / "again").hardlink_to(real)
            (tmp_path / "again").rename(imported.path)

    swapper = threading.Thread(target=swap)
    with serving(server(store)) as url, httpx.Client(base_url=url) as client:
        swapper.start()
        try:
            answers: list[httpx.Response] = []
            while len(answers) < 200 or not any(answer.status_code == 200 for answer in answers):
                answers.append(client.get("/local/imported/resolve/main/imported.gguf"))
        finally:
            over.set()
            swapper.join()
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert {answer.content for answer in answers if answer.status_code == 200} == {model("imported")}


@pytest.mark.parametrize("what", ["fifo", "directory", "socket", "device", "other", "rewritten"])
def test_what_is_not_the_file_of_the_record_is_not_served(
    store: Store, imported: StoredModel, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it takes the file's place just after the look at it; nothing waits for a FIFO's writer."""
    monkeypatch.setattr("edgeinfer.store.store.model_problem", lambda _stored: None)
    path = imported.path
    path.unlink()
    match what:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "other":
            path.symlink_to(tmp_path / "other.gguf")
        case "rewritten":
            path.write_bytes(b"x" * imported.size)
        case "socket":
            path.symlink_to(tmp_path)
    with serving(server(store)) as url:
        assert httpx.get(f"{url}/local/imported/resolve/main/imported.gguf").status_code == 404
        assert httpx.get(f"{url}/{BUNDLED_REPO}/resolve/main/x").status_code == 404


def test_many_readers_that_do_not_read_take_little_memory() -> None:
    """What waits for each is less, the more there are."""
    assert open_file_response.MAX_CHUNKS + 2048 * open_file_response.MIN_CHUNK < 32e6


def test_a_reader_sees_the_file_to_its_end_while_its_name_goes(
    store: Store, imported: StoredModel, tmp_path: Path
) -> None:
    """It is open."""
    with serving(server(store)) as url, connected(int(url.rpartition(":")[2]), 4096) as sock:
        head = "GET /local/imported/resolve/main/imported.gguf HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        found = read_until(sock, b"\r\n\r\n")
        imported.path.unlink()
        (tmp_path / "other.gguf").rename(imported.path)
        found += read_all(sock)
    assert found.partition(b"\r\n\r\n")[2] == model("imported")
