"""Servers that cannot continue a file, or say that they do."""

from __future__ import annotations

import pytest

from edgeinfer.errors import (
    DownloadFailed,
)
from edgeinfer.hub.download import download
from edgeinfer.store.store import Store
from tests.support.faulty_hub import (
    Answer,
    Fault,
    FaultyHub,
    Handler,
    cut,
)
from tests.support.hub import (
    Notes,
    at,
    is_sound,
    nothing_bad,
    offered,
)


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
