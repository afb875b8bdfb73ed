"""What a hub has of a model, and how a file of it gets into the store.

Heavy, as the hub's client is: for commands alone, and imported where one runs.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.errors import DownloadFailed, HashMismatch, ModelLoadFailed, Offline, StoreBusy
from edgeinfer.gguf.header import Header, read_header, read_remote_header
from edgeinfer.hub.connection import HubConnection, content_start
from edgeinfer.hub.endpoint import Endpoint, hub_endpoint
from edgeinfer.hub.hub_index import RemoteFile, split_file_error
from edgeinfer.hub.retries import MAX_LISTING_ATTEMPTS, RetryableError, RetryState
from edgeinfer.hub.transfer import FileContent, Transfer
from edgeinfer.store.file_name import SPLIT, name_from_file
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel

MAX_LOCK_WAIT = 24 * 3600.0


def remote_header(published: RemoteFile, *, hub: Endpoint | None = None) -> Header:
    """The header of a file that is not here yet: some megabytes, which the vocabulary takes.

    Raises:
        ModelLoadFailed: it is no sound GGUF file.
        DownloadFailed, EdgeinferError: it can't be had.
    """
    hub = hub or hub_endpoint()
    content = _content(published)
    connection = HubConnection(hub)

    def fetch_range(offset: int, length: int) -> bytes:
        end = min(offset + length, content.size)
        retries = RetryState(hub, NullProgress().message, MAX_LISTING_ATTEMPTS)
        return retries.call(lambda: _read_range(connection, published, content.size, offset, end))

    return read_remote_header(fetch_range, content.size, published.file)


def download(
    published: RemoteFile, store: Store, progress: Progress | None = None, *, hub: Endpoint | None = None
) -> StoredModel:
    """Have a file in the store: whole, and what the hub and the catalogue say it is.

    Another process that fetches the same file is waited for.

    Raises:
        HashMismatch, DiskFull, DownloadFailed, StoreError, ModelLoadFailed: as they say. What came so far is
            kept, unless it is wrong.
    """
    progress = progress or NullProgress()
    hub = hub or hub_endpoint()
    if not published.name:
        published = replace(published, name=name_from_file(published.file, published.repo))
    if found := installed_copy(published, store):
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
            progress.message(f"{busy.message}: waiting for it")
            held.enter_context(store.lock(key, MAX_LOCK_WAIT))
        return installed_copy(published, store) or _download(published, content, store, progress, hub)


def installed_copy(published: RemoteFile, store: Store) -> StoredModel | None:
    """The model in the store that this file is. Where no hash is known the commit and the name must do."""
    found = store.find(published.name, published.quant)
    if found is None:
        return None
    if wanted := published.sha256 or published.expected:
        return found if found.sha256 == wanted else None
    same = (published.repo, published.revision, published.file)
    return found if same == (found.repo, found.revision, found.file) or not published.confirmed else None


def _download(
    published: RemoteFile, content: FileContent, store: Store, progress: Progress, hub: Endpoint
) -> StoredModel:
    partial = _partial_path(store, published, content)
    place = (published.repo, published.file, published.revision)
    sha256 = Transfer(HubConnection(hub), place, content, partial, progress).run()
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
        StoredModel(
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


def _check_expected(published: RemoteFile, sha256: str, hub: Endpoint) -> None:
    if published.expected not in (None, sha256):
        raise HashMismatch(
            f"{published.file} of {published.repo} has the sha256 {sha256} on {hub.host}, "
            f"but the catalogue expects {published.expected}",
            hint=f"to take it as it is there: --revision {published.revision}",
        )


def _partial_path(store: Store, published: RemoteFile, content: FileContent) -> Path:
    """Where the file grows. What has come of the same content at another commit is taken over."""
    partial = store.incoming(published.repo, published.revision) / f"{content.digest}.part"
    if not partial.exists():
        for other in partial.parent.parent.glob(f"*/{partial.name}"):
            other.rename(partial)
            break
    return partial


def _read_range(connection: HubConnection, published: RemoteFile, size: int, offset: int, end: int) -> bytes:
    """Bytes `offset` to `end`. Of a server that knows no ranges everything before them is thrown away."""
    found = bytearray()
    with connection.open_file(published.repo, published.file, published.revision, offset, end) as response:
        start = content_start(response, size)
        if start > offset:
            raise RetryableError(f"the server sends from byte {start}, not from {offset}")
        for piece in response.iter_raw():
            found += piece
            if start + len(found) >= end:
                break
    if start + len(found) < end:
        raise RetryableError("the server ended within a range")
    return bytes(found[offset - start : end - start])


def _content(published: RemoteFile) -> FileContent:
    """What the file has to be; that must be known, or anything could be taken for it."""
    if not published.confirmed:
        size = f", {size_text(published.size)}" if published.size else ""
        raise Offline(
            f"{published.name or published.repo}:{published.quant} is not here "
            f"({published.file} of {published.repo}{size}), and the network is not to be used",
            hint="leave out --offline and HF_HUB_OFFLINE, or pull it from a mirror: HF_ENDPOINT=http://BOARD:PORT",
        )
    if SPLIT.search(published.file):
        raise split_file_error(published.file)
    content = FileContent(published.size or 0, published.sha256, published.git_sha1)
    if not content.size or not content.digest:
        raise DownloadFailed(
            f"the hub gives neither size nor hash of {published.file}, so it can't be checked"
        )
    return content
