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
    HashMismatch,
    ModelLoadFailed,
    ModelNotFound,
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
    ranged,
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


@pytest.fixture(scope="module")
def content(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture
def hub(content: bytes) -> Iterator[FaultyHub]:
    with serving(FaultyHub({FILE: content})) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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


def test_wrong_bytes_are_thrown_away(hub: FaultyHub, store: Store) -> None:
    """Twice wrong is an error that names both hashes."""
    hub.announced = {FILE: "d" * 64}
    with pytest.raises(
        HashMismatch, match=f"its hash is {hashlib.sha256(hub.files[FILE]).hexdigest()}, not dddd"
    ):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)
    assert partials(store) == []
    assert len(hub.file_requests) == 2


@pytest.mark.parametrize("announced", [True, False])
def test_a_copy_that_is_too_short_is_an_error(
    hub: FaultyHub, store: Store, content: bytes, announced: bool
) -> None:
    """Whatever the server says of its length."""

    def short(handler: Handler, answer: Answer) -> None:
        part = ranged(content[:3_000_000], handler.entry.headers.get("range"))
        handler.head(part, -1 if announced else None)
        handler.body(part.body)

    hub.faults = [short] * 20
    with pytest.raises(DownloadFailed, match=r"has 3000000 bytes of a file of 4410144|less of the file"):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)


def test_a_server_that_sends_more_than_the_file_is_cut_off(hub: FaultyHub, store: Store) -> None:
    """It could fill the disk."""

    def endless(handler: Handler, answer: Answer) -> None:
        handler.head(answer, None)
        handler.body(answer.body + bytes(1 << 16))

    hub.faults = [endless]
    with pytest.raises(DownloadFailed, match="sends more than"):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)
    assert all(path.stat().st_size <= len(hub.files[FILE]) for path in partials(store))


def test_a_server_without_ranges_begins_again(hub: FaultyHub, store: Store, content: bytes) -> None:
    """The whole file in answer to a range is no end of what is here."""

    def whole(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(200, {}, content))

    hub.faults = [cut(0.5), whole]
    assert is_sound(download(offered(hub), store, hub=at(hub)), store, content)


def content_range(text: str | None) -> Fault:
    """A part of the file under a wrong Content-Range, or none; the whole file is sent as it is."""

    def fault(handler: Handler, answer: Answer) -> None:
        if answer.status == 206:
            del answer.headers["Content-Range"]
            if text is not None:
                answer.headers["Content-Range"] = text
        handler.send(answer)

    return fault


@pytest.mark.parametrize("text", [None, "", "bytes */4410144", "items 1-2/3", "bytes 7-/4410144"])
def test_a_server_whose_ranges_cannot_be_used_is_asked_for_the_whole_file(
    text: str | None, hub: FaultyHub, store: Store, content: bytes
) -> None:
    """Otherwise the rest could never be fetched, however often the command is run."""
    hub.faults = [cut(0.5), *[content_range(text)] * 10]
    seen = Notes()
    assert is_sound(download(offered(hub), store, seen, hub=at(hub)), store, content)
    assert [request.headers.get("range") is None for request in hub.file_requests] == [
        True,
        False,
        False,
        True,
    ]
    assert any("cannot continue within a file; starting over" in note for note in seen.notes)


def test_a_server_that_neither_continues_nor_sends_all_is_given_up(hub: FaultyHub, store: Store) -> None:
    hub.faults = [fault for _ in range(20) for fault in (cut(0.5), content_range(None), content_range(None))]
    with pytest.raises(DownloadFailed, match="does not say which part of the file"):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)


def test_one_unusable_range_does_not_cost_what_is_here(hub: FaultyHub, store: Store, content: bytes) -> None:
    hub.faults = [cut(0.5), content_range(None)]
    assert is_sound(download(offered(hub), store, hub=at(hub)), store, content)
    assert hub.file_requests[-1].headers["range"] == f"bytes={len(content) // 2}-"


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


def test_a_portal_does_not_destroy_what_is_here(hub: FaultyHub, store: Store, content: bytes) -> None:
    """A hotel's login page is a 200, too."""

    def portal(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(200, {"Content-Type": "text/html"}, b"<h1>Welcome"))

    def same_length(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(200, {"Content-Type": "text/html"}, b" " * len(content)))

    def other_range(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(206, {"Content-Range": f"bytes 5-9/{len(content)}"}, b"12345"))

    hub.faults = [cut(0.5), portal, cut(0.1), same_length, cut(0.1), other_range]
    assert is_sound(download(offered(hub), store, hub=at(hub)), store, content)
    assert hub.sent < 2.2 * len(content)


def test_a_compressed_file_is_refused(hub: FaultyHub, store: Store) -> None:
    """Nobody asked for it, and what it unpacks to has no bound."""

    def gzipped(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(200, {"Content-Encoding": "gzip"}, answer.body))

    hub.faults = [gzipped]
    with pytest.raises(DownloadFailed, match="as gzip"):
        download(offered(hub), store, hub=at(hub))
    assert nothing_bad(store)


def test_a_file_that_is_no_model_does_not_get_in(hub: FaultyHub, store: Store) -> None:
    """Even if it is what was published."""
    hub.files["Junk-Q4_0.gguf"] = b"GGUF" + bytes(1000)
    with pytest.raises(ModelLoadFailed, match="was downloaded correctly, but is not a valid GGUF file"):
        download(offered(hub, "Junk-Q4_0.gguf"), store, hub=at(hub))
    assert nothing_bad(store)
    assert partials(store) == []


def test_the_catalogue_s_hash_is_checked_before_a_byte_comes(hub: FaultyHub, store: Store) -> None:
    """The hub may have been tampered with, or the file replaced: the error names both hashes."""
    with pytest.raises(HashMismatch) as error:
        download(replace(offered(hub), expected="e" * 64), store, hub=at(hub))
    assert "e" * 64 in error.value.message
    assert hub.sha256(FILE) in error.value.message
    assert error.value.hint == f"to accept this file: --revision {hub.commit}"
    assert hub.file_requests == []


def test_a_small_file_is_checked_by_git_s_hash(hub: FaultyHub, store: Store, content: bytes) -> None:
    """The hub keeps those in git, and knows no sha256 of them."""
    good = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    plain = replace(offered(hub), sha256=None, git_sha1="f" * 40)
    with pytest.raises(HashMismatch, match=good):
        download(plain, store, hub=at(hub))
    stored = download(replace(plain, git_sha1=good), store, hub=at(hub))
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    with pytest.raises(HashMismatch, match=f"the catalogue expects {'e' * 64}"):
        download(replace(plain, git_sha1=good, expected="e" * 64), store, hub=at(hub))
    assert store.installed() == [stored]
    assert partials(store) == []


def test_a_file_without_any_hash_is_not_fetched(hub: FaultyHub, store: Store) -> None:
    """There would be nothing to check it by."""
    with pytest.raises(DownloadFailed, match="cannot be verified"):
        download(replace(offered(hub), sha256=None, git_sha1=None), store, hub=at(hub))


def test_a_part_of_a_model_is_refused(hub: FaultyHub, store: Store) -> None:
    """With what to do about it."""
    part = replace(offered(hub), file="Big-F16-00001-of-00003.gguf")
    with pytest.raises(ModelNotFound, match="one of 3 parts") as error:
        download(part, store, hub=at(hub))
    assert error.value.hint
    assert "llama-gguf-split --merge" in error.value.hint


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
