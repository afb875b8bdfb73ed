"""The mirror, as the unmodified client of the hub sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    scan_cache_dir,
    snapshot_download,
)
from huggingface_hub.errors import (
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile
from starlette.types import Message, Receive, Scope, Send

from edgeinfer.gguf.header import read_header
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.hub.open_file_response import OpenFileResponse
from edgeinfer.hub.repo_index import BUNDLED_FILE, BUNDLED_REPO
from edgeinfer.store.store import Store
from tests.support.cli import EDGEINFER, environment
from tests.support.mirror import FILE, NEW, OLD, REPO, add, model, serving, stored
from tests.support.server import eventually

DATA = model("q4")
SIZE = len(DATA)
SHA256 = stored(DATA).sha256


class Client:
    """huggingface_hub, against one endpoint and with a cache of its own."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url
        self.cache = cache
        self.api = HfApi(endpoint=url, token=False)

    def download(self, file: str = FILE, repo: str = REPO, **more: Any) -> Path:
        return Path(hf_hub_download(repo, file, endpoint=self.url, cache_dir=self.cache, token=False, **more))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    add(store, DATA)
    return store


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serving(mirror_app(store)) as url:
        yield url


@pytest.fixture
def client(url: str, tmp_path: Path) -> Client:
    return Client(url, tmp_path / "cache")


def test_a_file_is_downloaded_as_from_the_hub(client: Client) -> None:
    """Under the commit that the board had it from."""
    path = client.download()
    assert DATA == path.read_bytes()
    assert path.parent.name == NEW
    assert path == client.download()


def test_the_metadata_is_what_the_client_verifies_by(client: Client) -> None:
    """Commit, size and sha256; no xet, so it is plain HTTP."""
    metadata = get_hf_file_metadata(hf_hub_url(REPO, FILE, endpoint=client.url), token=False)
    assert (NEW, SHA256, SIZE, None) == (
        metadata.commit_hash,
        metadata.etag,
        metadata.size,
        metadata.xet_file_data,
    )
    assert f"{client.url}/{REPO}/resolve/main/{FILE}" == metadata.location


def test_a_model_is_described_with_the_sizes_and_hashes_of_its_files(client: Client) -> None:
    """Which the plan reads before anything is downloaded."""
    info = client.api.model_info(REPO, files_metadata=True)
    assert (REPO, NEW) == (info.id, info.sha)
    assert info.siblings
    [sibling] = info.siblings
    assert sibling.lfs
    assert (FILE, SIZE, SHA256) == (sibling.rfilename, sibling.size, sibling.lfs.sha256)
    plain = client.api.model_info(REPO).siblings
    assert plain
    assert plain[0].size is None


def test_the_ids_of_files_are_gits(client: Client, tmp_path: Path) -> None:
    """As they would be, had the file been committed with git-lfs."""
    [entry] = client.api.get_paths_info(REPO, FILE)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize {SIZE}\n"
    assert isinstance(entry, RepoFile)
    assert entry.lfs
    assert entry.lfs.pointer_size == len(pointer)
    hashed = subprocess.run(
        ["git", "hash-object", "--stdin"], input=pointer, capture_output=True, text=True, check=True
    )
    assert hashed.stdout.strip() == entry.blob_id


def test_what_is_there_can_be_listed(client: Client, store: Store) -> None:
    """Files in directories, too: with them, without them, below one, and by their names."""
    add(store, model("f16"), quant="F16", file="F16/some-F16.gguf")
    assert {FILE, "F16/some-F16.gguf"} == set(client.api.list_repo_files(REPO))
    assert [("F16", "directory"), (FILE, "file")] == kinds(client.api.list_repo_tree(REPO))
    everything = kinds(client.api.list_repo_tree(REPO, recursive=True))
    assert [("F16", "directory"), ("F16/some-F16.gguf", "file"), (FILE, "file")] == sorted(everything)
    assert [("F16/some-F16.gguf", "file")] == kinds(client.api.list_repo_tree(REPO, "F16"))
    assert [("F16", "directory"), (FILE, "file")] == kinds(
        client.api.get_paths_info(REPO, ["F16", FILE, "other"])
    )
    with pytest.raises(RemoteEntryNotFoundError):
        list(client.api.list_repo_tree(REPO, "F1"))
    assert {REPO, BUNDLED_REPO} == {info.id for info in client.api.list_models()}


def kinds(entries: Any) -> list[tuple[str, str]]:
    return [(entry.path, "file" if hasattr(entry, "size") else "directory") for entry in entries]


def test_a_snapshot_is_downloaded_and_passes_the_clients_own_check(client: Client, store: Store) -> None:
    """All files of a commit."""
    add(store, model("f16"), quant="F16", file="F16/some-F16.gguf")
    path = Path(snapshot_download(REPO, endpoint=client.url, cache_dir=client.cache, token=False))
    assert DATA == (path / FILE).read_bytes()
    assert model("f16") == (path / "F16" / "some-F16.gguf").read_bytes()
    [repo] = scan_cache_dir(client.cache).repos
    assert (REPO, 2, NEW) == (repo.repo_id, repo.nb_files, next(iter(repo.revisions)).commit_hash)
    checked = client.api.verify_repo_checksums(REPO, cache_dir=client.cache)
    assert (2, []) == (checked.checked_count, checked.mismatches)


def test_main_is_the_newest_commit_and_older_ones_stay_reachable(client: Client, store: Store) -> None:
    """A commit has the files that were there at the time, and no others."""
    add(store, model("old"), quant="Q8_0", file="some-Q8_0.gguf", revision=OLD)
    assert OLD == client.api.model_info(REPO).sha
    assert ["some-Q8_0.gguf"] == client.api.list_repo_files(REPO)
    assert [FILE] == client.api.list_repo_files(REPO, revision=NEW)
    assert DATA == client.download(revision=NEW).read_bytes()
    with pytest.raises(RemoteEntryNotFoundError):
        client.download("some-Q8_0.gguf", revision=NEW)


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda c: c.download(repo="owner/other"), RepositoryNotFoundError),
        (lambda c: c.api.model_info("owner/other"), RepositoryNotFoundError),
        (lambda c: c.api.model_info("other"), RepositoryNotFoundError),
        (lambda c: c.api.dataset_info(REPO), RepositoryNotFoundError),
        (lambda c: c.download(revision="v2"), RevisionNotFoundError),
        (lambda c: c.download(revision=OLD), RevisionNotFoundError),
        (lambda c: c.api.model_info(REPO, revision="refs/pr/1"), RevisionNotFoundError),
        (lambda c: list(c.api.list_repo_tree(REPO, revision="v2")), RevisionNotFoundError),
        (lambda c: c.download("other.gguf"), RemoteEntryNotFoundError),
        (lambda c: c.download("some-Q4_0.gguf.part"), RemoteEntryNotFoundError),
    ],
)
def test_what_is_not_there_is_the_clients_own_error(
    client: Client, ask: Callable[[Client], Any], error: type[Exception]
) -> None:
    """A wrong repository, a wrong revision and a wrong file are three different mistakes."""
    with pytest.raises(error):
        ask(client)


class Cut:
    """Breaks the first download off after 30 % of the file, and notes the ranges that are asked for."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.ranges: list[bytes | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = False
        if scope["type"] == "http" and scope["method"] == "GET":
            self.ranges.append(dict(scope["headers"]).get(b"range"))
            first = len(self.ranges) == 1

        async def cut(message: Message) -> None:
            if first and message["type"] == "http.response.body":
                message["body"] = message["body"][: SIZE * 3 // 10]
                await send({**message, "more_body": True})
                raise ConnectionAbortedError
            await send(message)

        await self.app(scope, receive, cut)


@pytest.mark.skipif(huggingface_hub.__version__ < "2", reason="this client does not resume by itself")
def test_a_download_that_breaks_off_goes_on_where_it_was(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for the rest, and gets it."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # less than one of these is lost in a cut
    app = Cut(mirror_app(store))
    with serving(app) as url:
        path = Client(url, tmp_path / "cache").download()
    assert DATA == path.read_bytes()
    assert [None, b"bytes=%d-" % (SIZE * 3 // 10)] == app.ranges


def test_a_partial_file_is_completed(client: Client, tmp_path: Path) -> None:
    """By the client's own downloader, as after a restart."""
    partial = tmp_path / "partial"
    partial.write_bytes(DATA[:1000])
    with partial.open("ab") as file:
        http_get(hf_hub_url(REPO, FILE, endpoint=client.url), file, resume_size=1000, expected_size=SIZE)
    assert DATA == partial.read_bytes()


@pytest.mark.parametrize(
    ("headers", "status", "expected", "content_range"),
    [
        ({}, 200, DATA, None),
        ({"Range": "bytes=0-3"}, 206, b"GGUF", f"bytes 0-3/{SIZE}"),
        ({"Range": "bytes=10-"}, 206, DATA[10:], f"bytes 10-{SIZE - 1}/{SIZE}"),
        ({"Range": "bytes=-10"}, 206, DATA[-10:], f"bytes {SIZE - 10}-{SIZE - 1}/{SIZE}"),
        ({"Range": f"bytes=5-{SIZE * 9}"}, 206, DATA[5:], f"bytes 5-{SIZE - 1}/{SIZE}"),
        ({"Range": f"bytes={SIZE}-"}, 416, b"", f"bytes */{SIZE}"),
        ({"Range": "bytes=0-3", "If-Range": f'"{SHA256}"'}, 206, b"GGUF", f"bytes 0-3/{SIZE}"),
        ({"Range": "bytes=0-3", "If-Range": '"another"'}, 200, DATA, None),
    ],
)
def test_ranges(
    url: str, headers: dict[str, str], status: int, expected: bytes, content_range: str | None
) -> None:
    """As RFC 9110 has them: a header is read and a download is resumed by them."""
    response = httpx.get(f"{url}/{REPO}/resolve/main/{FILE}", headers=headers)
    assert (status, content_range) == (response.status_code, response.headers.get("content-range"))
    assert expected == response.content


def test_a_head_has_the_headers_and_no_body(url: str) -> None:
    """What a browser or curl needs, too."""
    response = httpx.head(f"{url}/{REPO}/resolve/main/{FILE}")
    assert (200, b"") == (response.status_code, response.content)
    assert str(SIZE) == response.headers["content-length"] == response.headers["x-linked-size"]
    assert f'"{SHA256}"' == response.headers["etag"] == response.headers["x-linked-etag"]
    assert response.headers["x-repo-commit"] == NEW
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-disposition"] == f'attachment; filename="{FILE}"'


def test_several_boards_download_at_once(url: str, tmp_path: Path) -> None:
    """Each gets all of it."""
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda n: Client(url, tmp_path / str(n)).download(), range(6)))
    assert [DATA] * 6 == [path.read_bytes() for path in paths]


def test_the_store_may_change_while_it_is_served(client: Client, store: Store) -> None:
    """A model is there when its download ends, and gone when it is removed."""
    other = add(store, model("q8"), quant="Q8_0", file="some-Q8_0.gguf")
    assert model("q8") == client.download("some-Q8_0.gguf").read_bytes()
    store.remove(other)
    with pytest.raises(RemoteEntryNotFoundError):
        client.download("some-Q8_0.gguf", force_download=True)


def test_the_bundled_model_is_served(url: str, tmp_path: Path, model_file: Path) -> None:
    """A fresh board has something to give."""
    path = Client(url, tmp_path / "cache").download(BUNDLED_FILE, repo=BUNDLED_REPO)
    assert read_header(path) == read_header(model_file)


def test_imported_files_are_one_repository_of_their_own(store: Store, client: Client, tmp_path: Path) -> None:
    """Whose commit changes with its contents."""
    commits = set()
    for quant in ("Q4_0", "Q8_0"):
        data, path = model(quant), tmp_path / f"{quant}.gguf"
        path.write_bytes(data)
        store.record(
            stored(data, path=path, quant=quant, name="mine", repo="local/mine", file=f"mine-{quant}.gguf")
        )
        commits.add(client.api.model_info("local/mine").sha)
    assert len(commits) == 2
    assert ["mine-Q4_0.gguf", "mine-Q8_0.gguf"] == client.api.list_repo_files("local/mine")
    assert model("Q4_0") == client.download("mine-Q4_0.gguf", repo="local/mine").read_bytes()


@pytest.mark.parametrize("content", [model("other")[::-1], b"root:x:0:0:" + bytes(SIZE - 11)])
def test_a_file_that_changed_or_is_no_model_is_not_served(
    store: Store, client: Client, tmp_path: Path, content: bytes
) -> None:
    """A record names a path, and anybody may have written the record or the file."""
    path = tmp_path / "theirs.gguf"
    path.write_bytes(content)
    store.record(stored(content, path=path, name="theirs", repo="local/theirs", file="theirs.gguf"))
    with pytest.raises(RepositoryNotFoundError):
        client.download("theirs.gguf", repo="local/theirs")


def test_a_request_is_one_line_of_the_log_without_key_or_query(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who had what, how much of it, and how long it took."""
    with caplog.at_level(logging.INFO, "edgeinfer.hub.mirror"), serving(mirror_app(store)) as url:
        httpx.get(f"{url}/{REPO}/resolve/main/{FILE}?x=query", headers={"Authorization": "Bearer hf_secret"})
    lines = [r.getMessage() for r in caplog.records if r.name == "edgeinfer.hub.mirror"]
    assert len(lines) == 1
    assert re.fullmatch(rf"127\.0\.0\.1 GET /{REPO}/resolve/main/{FILE} 200 {SIZE} bytes \d+\.\d s", lines[0])
    own = "".join(r.getMessage() for r in caplog.records if not r.name.startswith("http"))  # not the client's
    assert "secret" not in own
    assert "query" not in own


def test_a_file_that_is_cut_while_it_is_sent_is_one_line_of_the_log(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets an answer that is not complete, and no traceback comes."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))
    monkeypatch.setattr("edgeinfer.hub.open_file_response.MAX_CHUNK", 1000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = OpenFileResponse(path.open("rb"), "file", {}, asyncio.Semaphore(1))
        os.truncate(path, 50_000)  # after its size was announced
        await response(scope, receive, send)

    with serving(app) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)
    assert "file has become shorter while it was sent" in caplog.text
    assert "Traceback" not in caplog.text
    assert "Response content shorter" not in caplog.text


def test_a_client_that_leaves_is_no_error_of_the_mirror(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """While it sends its body: a 500 in the log would be looked into."""
    head = (
        f"POST /api/models/{REPO}/paths-info/main HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{{"
    )
    with caplog.at_level(logging.INFO, "edgeinfer.hub.mirror"), serving(mirror_app(store)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode())
            threading.Event().wait(0.2)  # until the app reads the body
        assert eventually(lambda: "paths-info/main" in caplog.text)
    assert "paths-info/main 499 " in caplog.text


def test_a_person_with_a_browser_sees_what_there_is(url: str) -> None:
    """A file a line."""
    assert f"{REPO}  {FILE}  {SIZE:,} bytes" in httpx.get(url).text.splitlines()


DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
print(hf_hub_download(*sys.argv[1:]))
"""


@pytest.mark.slow
def test_the_command_serves_the_store_to_a_client_with_hf_endpoint(store: Store, tmp_path: Path) -> None:
    """Nothing but the environment is needed on the other side; SIGTERM ends it."""
    keys = tmp_path / "keys"
    keys.write_text("right\n")
    keys.chmod(0o600)
    with subprocess.Popen(
        [*EDGEINFER, "mirror", "--port", "0", "--api-key-file", keys],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path, EDGEINFER_STORE=str(store.root)),
    ) as server:
        killer = threading.Timer(60, server.kill)
        killer.start()
        assert server.stderr
        assert "1 model, " in (first := server.stderr.readline())
        assert "clients with a key" in first
        address = re.search(r"HF_ENDPOINT=(\S+)", server.stderr.readline())
        assert address
        assert "--host 0.0.0.0" in server.stderr.readline()
        env = environment(tmp_path, HF_ENDPOINT=address[1], HF_TOKEN="right", HF_HOME=str(tmp_path / "hf"))
        done = subprocess.run(
            [sys.executable, "-c", DOWNLOAD, REPO, FILE], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert DATA == Path(done.stdout.strip()).read_bytes()
        server.send_signal(signal.SIGTERM)
        rest = server.stderr.read()
        killer.cancel()
    assert f"/{REPO}/resolve/main/{FILE} 200 {SIZE} bytes" in rest
    assert "right" not in rest
    assert server.returncode in (0, -signal.SIGTERM)
