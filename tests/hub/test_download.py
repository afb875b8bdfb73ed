"""Fetching from a hub that fails in every way it can: the right file or a clear error, and never a bad file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from msgspec.structs import replace

from edgeinfer.errors import (
    DownloadFailed,
    Offline,
)
from edgeinfer.hub.download import download, remote_header
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.hub_index import repo_files
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support.faulty_hub import (
    REPO,
    Answer,
    Fault,
    FaultyHub,
    Handler,
    cut,
    redirect,
    serving,
    stall,
    status,
    truncated,
    wait_for,
    wrong_byte,
)
from tests.support.hub import (
    FILE,
    HURRY,
    IN_FLIGHT,
    SECRET,
    Notes,
    at,
    is_sound,
    nothing_bad,
    offered,
    partials,
)


def test_a_file_comes_whole_with_its_record(hub: FaultyHub, store: Store, content: bytes) -> None:
    """Commit, size and hash are the hub's."""
    seen = Notes()
    stored = download(offered(hub), store, seen, hub=at(hub))
    assert is_sound(stored, store, content)
    assert (stored.name, stored.quant, stored.repo, stored.file) == ("nano", "Q8_0", REPO, FILE)
    assert (stored.revision, stored.size) == (hub.commit, len(content))
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert store.verify(stored) is None
    assert (seen.begun, seen.ended, seen.notes) == ([(len(content), 0)], 1, [])


def test_what_is_here_is_not_fetched_again(hub: FaultyHub, store: Store) -> None:
    """Not even asked for."""
    first = download(offered(hub), store, hub=at(hub))
    before = len(hub.requests)
    assert download(replace(offered(hub), revision="c" * 40), store, hub=at(hub)) == first
    assert len(hub.requests) == before + 1  # the listing


FAULTS: dict[str, list[Fault]] = {
    "cut at 30 %": [cut(0.3)],
    "cut again and again": [cut(0.3), cut(0.3), cut(0.5), cut(0.0), cut(0.9)],
    "cut before the first byte": [cut(0)],
    "500s": [status(500), status(502)],
    "500 in the middle": [cut(0.3), status(503)],
    "a wrong byte": [wrong_byte(1000)],
    "a wrong byte, then a cut": [wrong_byte(7), cut(0.4), status(500)],
    "a wrong byte after a cut": [cut(0.5), wrong_byte(9)],
    "truncated, and it says so": [truncated(0.7, announced=True)],
    "truncated, and it does not say so": [truncated(0.7, announced=False)],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_overcome(faults: list[Fault], hub: FaultyHub, store: Store, content: bytes) -> None:
    """Each at the cost of no more than it must."""
    hub.faults = list(faults)
    frugal = all("cut" in str(fault) or "status" in str(fault) for fault in faults)
    stored = download(offered(hub), store, hub=at(hub))
    assert is_sound(stored, store, content)
    assert hub.faults == []
    assert hub.sent <= (1 if frugal else 2) * len(content) + IN_FLIGHT


def test_a_stalled_connection_is_left_for_a_new_one(hub: FaultyHub, store: Store, content: bytes) -> None:
    """What came before it is kept."""
    over = threading.Event()
    hub.faults = [stall(0.5, over)]
    seen = Notes()
    try:
        stored = download(offered(hub), store, seen, hub=at(hub))
    finally:
        over.set()
    assert is_sound(stored, store, content)
    assert "sent nothing for 0.5 s" in seen.notes[0]
    assert hub.file_requests[1].headers["range"] == f"bytes={len(content) // 2}-"


def test_the_time_a_server_asks_for_is_waited(hub: FaultyHub, store: Store, content: bytes) -> None:
    """429 with Retry-After, in seconds or as a date, and with the hub's own header."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2.9))
    hub.faults = [status(429, Retry_After="1"), status(503, Retry_After=date)]
    started = time.monotonic()
    seen = Notes()
    assert is_sound(download(offered(hub), store, seen, hub=at(hub)), store, content)
    assert time.monotonic() - started >= 1
    assert "answers 429; trying again in 1 s" in seen.notes[0]
    assert "answers 503; trying again" in seen.notes[1]
    hub.faults = [status(429, RateLimit='"api";r=0;t=3000')]
    with pytest.raises(DownloadFailed, match="answers 429; it asks to wait 3000 s"):
        download(replace(offered(hub), name="other"), store, hub=at(hub))


def test_a_server_that_asks_for_an_hour_is_not_waited_for(hub: FaultyHub, store: Store) -> None:
    """That is an error now, not a program that seems to hang."""
    hub.faults = [status(429, Retry_After="3600")]
    with pytest.raises(DownloadFailed, match="asks to wait 3600 s"):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)


def test_after_a_failure_the_next_attempt_goes_on(hub: FaultyHub, store: Store, content: bytes) -> None:
    """A row of failures ends in an error; what came is kept."""
    hub.faults = [cut(0.3), *[status(500)] * 10]
    with pytest.raises(DownloadFailed, match=r"answers 500 \(tried 3 times\)") as error:
        download(offered(hub), store, hub=at(hub))
    assert error.value.hint
    assert "continues from here" in error.value.hint
    assert nothing_bad(store)
    assert [path.stat().st_size for path in partials(store)] == [int(len(content) * 0.3)]
    hub.faults = []
    seen = Notes()
    assert is_sound(download(offered(hub), store, seen, hub=at(hub)), store, content)
    assert seen.begun == [(len(content), int(len(content) * 0.3))]
    assert hub.sent <= len(content) + IN_FLIGHT


def test_a_server_that_trickles_comes_to_an_end(hub: FaultyHub, store: Store) -> None:
    """A byte an attempt is no progress, or it could go on for years."""
    hub.faults = [cut(0.000001)] * 20
    with pytest.raises(DownloadFailed, match="tried 3 times"):
        download(offered(hub), store, hub=at(hub))


def test_a_new_commit_with_the_same_file_goes_on_with_it(
    hub: FaultyHub, store: Store, content: bytes
) -> None:
    """As when only the model card was edited meanwhile."""
    hub.faults = [cut(0.5), *[status(500)] * 3]
    with pytest.raises(DownloadFailed):
        download(offered(hub), store, hub=at(hub))
    hub.commit = "c" * 40
    stored = download(offered(hub), store, hub=at(hub))
    assert is_sound(stored, store, content)
    assert stored.revision == "c" * 40
    assert hub.sent <= len(content) + IN_FLIGHT


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(hub: FaultyHub, store: Store) -> None:
    """Each byte starts the read timeout again, so such a download would take for ever."""

    def drip(handler: Handler, answer: Answer) -> None:
        handler.head(answer)
        for byte in range(1000):
            handler.body(answer.body[byte : byte + 1])
            time.sleep(0.1)

    hub.faults = [drip] * 20
    with pytest.raises(DownloadFailed, match=r"sent only \d+ bytes in 1 s \(tried 3 times\)"):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)


def test_a_listing_that_never_ends_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[1]

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                    threading.Thread(target=spaces, args=(client,), daemon=True).start()

        def spaces(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                while True:
                    client.sendall(b" ")
                    time.sleep(0.1)

        threading.Thread(target=answer, daemon=True).start()
        endpoint = Endpoint(f"http://127.0.0.1:{address}", retry_policy=HURRY)
        with pytest.raises(DownloadFailed, match="sent only"):
            repo_files(REPO, file=FILE, hub=endpoint)


def test_the_token_stays_with_the_hub(
    hub: FaultyHub, store: Store, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A redirect to another host, or another port of the same, goes there without it; no log has it."""
    caplog.set_level("DEBUG")
    with serving(FaultyHub(hub.files), "127.0.0.2") as storage, serving(FaultyHub(hub.files)) as other_port:
        hub.faults = [redirect(storage.url), redirect(other_port.url)]
        storage.faults = [cut(0.4)]
        stored = download(offered(hub), store, hub=at(hub))
    assert is_sound(stored, store, content)
    assert {r.headers["authorization"] for r in hub.requests} == {f"Bearer {SECRET}"}
    assert len(storage.requests) == len(other_port.requests) == 1
    for request in (*storage.requests, *other_port.requests):
        assert SECRET not in str(request.headers)
    assert SECRET not in caplog.text
    assert SECRET not in repr(at(hub))


def test_an_error_of_the_storage_names_its_host_alone(
    hub: FaultyHub, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of its address may be a signature."""
    caplog.set_level("DEBUG")

    def signed(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(302, {"Location": f"{storage.url}/x?Signature=abc"}))

    with serving(FaultyHub({}), "127.0.0.2") as storage:
        hub.faults = [signed]
        with pytest.raises(
            DownloadFailed, match=r"127\.0\.0\.1:\d+ redirected to 127\.0\.0\.2:\d+, which"
        ) as error:
            download(offered(hub), store, hub=at(hub))
    assert "abc" not in f"{error.value} {error.value.hint} {caplog.text}"


def test_offline_asks_nobody(hub: FaultyHub, store: Store) -> None:
    """And says what is missing."""
    remote = offered(hub)
    hub.requests.clear()
    with pytest.raises(Offline, match=f"{FILE} is not installed"):
        download(remote, store, hub=Endpoint(hub.url, offline=True))
    assert hub.requests == []


def test_nobody_there_is_said(store: Store, hub: FaultyHub) -> None:
    """With the address that was tried."""
    remote = offered(hub)
    with pytest.raises(DownloadFailed, match=r"no connection to 127\.0\.0\.1:1: .*tried 3 times") as error:
        download(remote, store, hub=Endpoint("http://127.0.0.1:1", retry_policy=HURRY))
    assert error.value.hint
    assert "HF_ENDPOINT is http://127.0.0.1:1" in error.value.hint


def test_the_header_is_read_without_the_file(hub: FaultyHub, content: bytes) -> None:
    """By ranges, also from a server that fails, or does not know them."""
    hub.files["Long-Q8_0.gguf"] = content + bytes(4 << 20)
    remote = offered(hub, "Long-Q8_0.gguf")
    hub.faults = [cut(0.5), status(500)]
    header = remote_header(remote, hub=at(hub))
    assert header.metadata["general.architecture"] == "qwen2"
    assert header.size == len(content) + (4 << 20)
    assert hub.sent < 2 << 20

    def whole(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(200, {}, hub.files["Long-Q8_0.gguf"]))

    hub.faults = [whole] * 3
    assert remote_header(remote, hub=at(hub)) == header


@pytest.fixture
def mirror(tmp_path: Path, hub: FaultyHub) -> Iterator[str]:
    """The address of a mirror of a store that has the model."""
    store = Store(tmp_path / "mirrored")
    download(offered(hub), store, hub=at(hub))
    config = uvicorn.Config(mirror_app(store), port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_mirror_is_a_hub(mirror: str, store: Store, content: bytes) -> None:
    """Our own, with faults in front of it."""
    with serving(FaultyHub(upstream=mirror)) as front:
        remote = offered(front)
        for name in ("cut again and again", "500 in the middle", "a wrong byte after a cut"):
            faults = FAULTS[name]
            front.faults = list(faults)
            stored = download(remote, store, hub=at(front))
            assert is_sound(stored, store, content)
            assert front.faults == []
            store.remove(stored)


def test_two_at_once_fetch_it_once(hub: FaultyHub, store: Store, content: bytes) -> None:
    """The second waits for the first, says for whom, and finds the model there."""
    go_on = threading.Event()
    hub.faults = [stall(0.3, go_on)]
    remote, patient = offered(hub), Endpoint(hub.url)
    results: list[StoredModel] = []
    seen = [Notes(), Notes()]
    threads = [
        threading.Thread(target=lambda s=s: results.append(download(remote, store, s, hub=patient)))
        for s in seen
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: any(s.notes for s in seen))
    go_on.set()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert is_sound(results[0], store, content)
    assert len(hub.file_requests) == 1
    (note,) = [note for s in seen for note in s.notes]
    assert re.fullmatch(rf"process ({os.getpid()}|\?) is busy with {REPO}/{FILE}: waiting for it", note)


def test_what_another_has_fetched_meanwhile_is_not_fetched_again(hub: FaultyHub, tmp_path: Path) -> None:
    """Between the look into the store and the lock it may have come."""
    remote = offered(hub)

    class Raced(Store):
        raced = False

        @contextlib.contextmanager
        def lock(self, key: str, wait: float = 0.0) -> Iterator[None]:
            if not self.raced:
                self.raced = True
                download(remote, Store(self.root), hub=at(hub))
            with super().lock(key, wait):
                yield

    download(remote, Raced(tmp_path), hub=at(hub))
    assert len(hub.file_requests) == 1
