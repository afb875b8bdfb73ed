"""What a hub sends is checked: wrong bytes never become a model."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from edgeinfer.errors import (
    DownloadFailed,
    HashMismatch,
    ModelLoadFailed,
    ModelNotFound,
)
from edgeinfer.hub.download import download
from edgeinfer.store.store import Store
from tests.support.faulty_hub import (
    Answer,
    FaultyHub,
    Handler,
    cut,
    ranged,
)
from tests.support.hub import (
    FILE,
    at,
    is_sound,
    nothing_bad,
    offered,
    partials,
)


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
    with pytest.raises(
        DownloadFailed, match=rf"has 3000000 bytes of a file of {len(content)}|less of the file"
    ):
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
