"""What a hub has of a model, and how a file of it gets into the store.

Heavy, as the hub's client is: for commands alone, and imported where one runs.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.errors import DownloadFailed, HashMismatch, ModelLoadFailed, Offline, StoreBusy
from edgeinfer.gguf.header import Header, read_header, read_remote_header
from edgeinfer.hub.connection import Connection, content_start
from edgeinfer.hub.endpoint import Endpoint, endpoint
from edgeinfer.hub.hub_index import Published, in_parts, published, published_in
from edgeinfer.hub.retries import FIRST_CONTACT, Retries, Trouble
from edgeinfer.hub.transfer import Content, Transfer
from edgeinfer.store.file_name import SPLIT, name_of_file
from edgeinfer.store.progress import Progress, Quiet, size_text
from edgeinfer.store.store import Store, Stored

__all__ = ["Published", "fetch", "header_of", "here", "published", "published_in"]

ANOTHER_DAY = 24 * 3600.0


def header_of(published: Published, *, hub: Endpoint | None = None) -> Header:
    """The header of a file that is not here yet: some megabytes, which the vocabulary takes.

    Raises:
        ModelLoadFailed: it is no sound GGUF file.
        DownloadFailed, EdgeinferError: it can't be had.
    """
    hub = hub or endpoint()
    content = _content(published)
    connection = Connection(hub)

    def fetch_range(offset: int, length: int) -> bytes:
        end = min(offset + length, content.size)
        retries = Retries(hub, Quiet().note, FIRST_CONTACT)
        return retries.call(lambda: _range(connection, published, content.size, offset, end))

    return read_remote_header(fetch_range, content.size, published.file)


def fetch(
    published: Published, store: Store, progress: Progress | None = None, *, hub: Endpoint | None = None
) -> Stored:
    """Have a file in the store: whole, and what the hub and the catalogue say it is.

    Another process that fetches the same file is waited for.

    Raises:
        HashMismatch, DiskFull, DownloadFailed, StoreError, ModelLoadFailed: as they say. What came so far is
            kept, unless it is wrong.
    """
    progress = progress or Quiet()
    hub = hub or endpoint()
    if not published.name:
        published = replace(published, name=name_of_file(published.file, published.repo))
    if found := here(published, store):
        return found
    content = _content(published)
    if content.sha256:
        _check_expected(published, content.sha256, hub)
    if hub.offline:
        raise Offline(f"{published.file} is not here, and the network is not to be used")
    key = f"{published.repo}/{published.file}"
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(store.lock(key))
        except StoreBusy as busy:
            progress.note(f"{busy.message}: waiting for it")
            held.enter_context(store.lock(key, ANOTHER_DAY))
        return here(published, store) or _fetch(published, content, store, progress, hub)


def here(published: Published, store: Store) -> Stored | None:
    """The model in the store that this file is. Where no hash is known the commit and the name must do."""
    found = store.find(published.name, published.quant)
    if found is None:
        return None
    if wanted := published.sha256 or published.expected:
        return found if found.sha256 == wanted else None
    same = (published.repo, published.revision, published.file)
    return found if same == (found.repo, found.revision, found.file) or not published.confirmed else None


def _fetch(published: Published, content: Content, store: Store, progress: Progress, hub: Endpoint) -> Stored:
    partial = _partial(store, published, content)
    place = (published.repo, published.file, published.revision)
    sha256 = Transfer(Connection(hub), place, content, partial, progress).run()
    try:
        _check_expected(published, sha256, hub)
        read_header(partial)
    except HashMismatch:
        partial.unlink()
        raise
    except ModelLoadFailed as e:
        partial.unlink()
        raise ModelLoadFailed(
            f"{published.file} came as it was published, but is no sound GGUF file: "
            f"{e.message.rpartition(': ')[2]}",
            param="model",
        ) from e
    return store.adopt(
        partial,
        Stored(
            name=published.name,
            quant=published.quant,
            path=partial,
            size=content.size,
            sha256=sha256,
            repo=published.repo,
            revision=published.revision,
            file=published.file,
            origin="hub",
        ),
    )


def _check_expected(published: Published, sha256: str, hub: Endpoint) -> None:
    if published.expected not in (None, sha256):
        raise HashMismatch(
            f"{published.file} of {published.repo} has the sha256 {sha256} on {hub.host}, "
            f"but the catalogue expects {published.expected}",
            hint=f"to take it as it is there: --revision {published.revision}",
        )


def _partial(store: Store, published: Published, content: Content) -> Path:
    """Where the file grows. What has come of the same content at another commit is taken over."""
    partial = store.incoming(published.repo, published.revision) / f"{content.digest}.part"
    if not partial.exists():
        for other in partial.parent.parent.glob(f"*/{partial.name}"):
            other.rename(partial)
            break
    return partial


def _range(connection: Connection, published: Published, size: int, offset: int, end: int) -> bytes:
    """Bytes `offset` to `end`. Of a server that knows no ranges everything before them is thrown away."""
    found = bytearray()
    with connection.file(published.repo, published.file, published.revision, offset, end) as response:
        start = content_start(response, size)
        if start > offset:
            raise Trouble(f"the server sends from byte {start}, not from {offset}")
        for piece in response.iter_raw():
            found += piece
            if start + len(found) >= end:
                break
    if start + len(found) < end:
        raise Trouble("the server ended within a range")
    return bytes(found[offset - start : end - start])


def _content(published: Published) -> Content:
    """What the file has to be; that must be known, or anything could be taken for it."""
    if not published.confirmed:
        size = f", {size_text(published.size)}" if published.size else ""
        raise Offline(
            f"{published.name or published.repo}:{published.quant} is not here "
            f"({published.file} of {published.repo}{size}), and the network is not to be used",
            hint="leave out --offline and HF_HUB_OFFLINE, or pull it from a mirror: HF_ENDPOINT=http://BOARD:PORT",
        )
    if SPLIT.search(published.file):
        raise in_parts(published.file)
    content = Content(published.size or 0, published.sha256, published.git_sha1)
    if not content.size or not content.digest:
        raise DownloadFailed(
            f"the hub gives neither size nor hash of {published.file}, so it can't be checked"
        )
    return content
