"""Downloads model files into the store, and reads headers of files that are not downloaded.

Importing this loads huggingface_hub, which is slow: import it in the commands that need it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.errors import DownloadFailed, HashMismatch, ModelLoadFailed, Offline, StoreBusy
from edgeinfer.gguf.header import Header, read_header, read_remote_header
from edgeinfer.hub.connection import HubConnection, content_start
from edgeinfer.hub.endpoint import Endpoint, hub_endpoint
from edgeinfer.hub.folder_download import download_folder
from edgeinfer.hub.hub_index import RemoteFile, split_file_error
from edgeinfer.hub.retries import MAX_LISTING_ATTEMPTS, RetryableError, RetryState
from edgeinfer.hub.transfer import FileContent, Transfer
from edgeinfer.safetensors.folder import CONFIG
from edgeinfer.store.file_name import SPLIT, name_from_file
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel

MAX_LOCK_WAIT = 24 * 3600.0
"""Seconds to wait for another process that downloads the same file."""


def remote_header(remote: RemoteFile, *, hub: Endpoint | None = None) -> Header:
    """Read the header of a file without downloading it: some megabytes, mostly the vocabulary.

    Raises:
        ModelLoadFailed: it is not a valid GGUF file.
        EdgeinferError: it is not available.
    """
    hub = hub or hub_endpoint()
    content = _content(remote)
    connection = HubConnection(hub)

    def fetch_range(offset: int, length: int) -> bytes:
        end = min(offset + length, content.size)
        retries = RetryState(hub, NullProgress().message, MAX_LISTING_ATTEMPTS)
        return retries.call(lambda: _read_range(connection, remote, content.size, offset, end))

    return read_remote_header(fetch_range, content.size, remote.file)


def download(
    remote: RemoteFile, store: Store, progress: Progress | None = None, *, hub: Endpoint | None = None
) -> StoredModel:
    """Download a file into the store, complete and verified against the hub and the catalogue.

    If another process is downloading the same file, this waits for it.

    Raises:
        HashMismatch, DiskFull, DownloadFailed, StoreError, ModelLoadFailed: see there. What was received so far
            is kept, unless it is wrong.
    """
    progress = progress or NullProgress()
    hub = hub or hub_endpoint()
    if not remote.name:
        remote = replace(remote, name=name_from_file(remote.file, remote.repo))
    if stored := installed_copy(remote, store):
        return stored
    if remote.file == CONFIG:
        with _locked(store, remote.repo, progress):
            return installed_copy(remote, store) or download_folder(remote, store, progress, hub)
    content = _content(remote)
    if content.sha256:
        _check_expected(remote, content.sha256, hub)
    if hub.offline:
        raise Offline(f"{remote.file} is not installed, and the network is off")
    with _locked(store, f"{remote.repo}/{remote.file}", progress):
        return installed_copy(remote, store) or _download(remote, content, store, progress, hub)


@contextlib.contextmanager
def _locked(store: Store, key: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of a download, once another process that has it is done."""
    with contextlib.ExitStack() as locks:
        try:
            locks.enter_context(store.lock(key))
        except StoreBusy as busy:
            progress.message(f"{busy.message}: waiting for it")
            locks.enter_context(store.lock(key, MAX_LOCK_WAIT))
        yield


def installed_copy(remote: RemoteFile, store: Store) -> StoredModel | None:
    """Return the stored model that is this very file; if its hash is unknown, commit and name decide."""
    stored = store.find(remote.name, remote.quant)
    if stored is None:
        return None
    if sha256 := remote.sha256 or remote.expected:
        return stored if stored.sha256 == sha256 else None
    same = (remote.repo, remote.revision, remote.file) == (stored.repo, stored.revision, stored.file)
    return stored if same or not remote.confirmed else None


def _download(
    remote: RemoteFile, content: FileContent, store: Store, progress: Progress, hub: Endpoint
) -> StoredModel:
    partial = _partial_path(store, remote, content)
    sha256 = Transfer(HubConnection(hub), remote, content, partial, progress).run()
    try:
        _check_expected(remote, sha256, hub)
        read_header(partial)
    except HashMismatch:
        partial.unlink()
        raise
    except ModelLoadFailed as e:
        partial.unlink()
        raise ModelLoadFailed(
            f"{remote.file} was downloaded correctly, but is not a valid GGUF file: "
            f"{e.message.rpartition(': ')[2]}",
            param="model",
        ) from e
    return store.adopt(
        partial,
        StoredModel(
            name=remote.name,
            quant=remote.quant,
            path=partial,
            size=content.size,
            sha256=sha256,
            repo=remote.repo,
            revision=remote.revision,
            file=remote.file,
            origin="hub",
        ),
    )


def _check_expected(remote: RemoteFile, sha256: str, hub: Endpoint) -> None:
    if remote.expected not in (None, sha256):
        raise HashMismatch(
            f"{remote.file} of {remote.repo} has the sha256 {sha256} on {hub.host}, "
            f"but the catalogue expects {remote.expected}",
            hint=f"to accept this file: --revision {remote.revision}",
        )


def _partial_path(store: Store, remote: RemoteFile, content: FileContent) -> Path:
    """Return the path of the partial download, taking over one of the same content at another commit."""
    partial = store.incoming(remote.repo, remote.revision) / f"{content.digest}.part"
    if not partial.exists():
        for other in partial.parent.parent.glob(f"*/{partial.name}"):
            other.rename(partial)
            break
    return partial


def _read_range(connection: HubConnection, remote: RemoteFile, size: int, offset: int, end: int) -> bytes:
    """Read bytes `offset` to `end`, discarding everything before them if the server does not support ranges."""
    data = bytearray()
    with connection.open_file(remote.repo, remote.file, remote.revision, offset, end) as response:
        start = content_start(response, size)
        if start > offset:
            raise RetryableError(f"the server starts at byte {start} instead of {offset}")
        for piece in connection.pieces(response):
            data += piece
            if start + len(data) >= end:
                break
    if start + len(data) < end:
        raise RetryableError("the server stopped before the end of the range")
    return bytes(data[offset - start : end - start])


def _content(remote: RemoteFile) -> FileContent:
    """Return the size and hash that the file must have; without them nothing could be verified."""
    if not remote.confirmed:
        size = f", {size_text(remote.size)}" if remote.size else ""
        raise Offline(
            f"{remote.name or remote.repo}:{remote.quant} is not installed "
            f"({remote.file} of {remote.repo}{size}), and the network is off",
            hint="run it without --offline and HF_HUB_OFFLINE, or use a mirror: HF_ENDPOINT=http://BOARD:PORT",
        )
    if SPLIT.search(remote.file):
        raise split_file_error(remote.file)
    content = FileContent(remote.size or 0, remote.sha256, remote.git_sha1)
    if not content.size or not content.digest:
        raise DownloadFailed(f"the hub gives no size or no hash of {remote.file}, so it cannot be verified")
    return content
