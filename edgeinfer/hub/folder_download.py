"""Downloads a model in safetensors: each of its files is verified by its hash, and then all of them together."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeinfer.errors import DownloadFailed, ModelLoadFailed, Offline
from edgeinfer.hub.connection import HubConnection
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.hub.transfer import FileContent, Transfer
from edgeinfer.safetensors.folder import read_folder, read_tokenizer
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.progress import Progress
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, StoredPart, parts_digest

COMPLETE = "complete"
"""Folder of the files that have arrived, beside those that are on their way."""


def download_folder(remote: RemoteFile, store: Store, progress: Progress, hub: Endpoint) -> StoredModel:
    """Download the files that are not here yet, check the model, and move it into the store.

    Raises:
        ModelLoadFailed: the files are what the hub has, but no sound model.
        EdgeinferError: as for `download`.
    """
    if not remote.parts:
        raise Offline(
            f"{remote.name}:{remote.quant} is not installed ({remote.repo}), and the network is off",
            hint="run it without --offline and HF_HUB_OFFLINE, or use a mirror: HF_ENDPOINT=http://BOARD:PORT",
        )
    incoming = store.incoming(remote.repo, remote.revision)
    complete = incoming / COMPLETE
    complete.mkdir(exist_ok=True)
    connection = HubConnection(hub)
    parts = [_part(part, incoming, complete / part.file, connection, progress) for part in remote.parts]
    try:
        folder = read_folder(complete)
        tokenizer = read_tokenizer(complete)
    except ModelLoadFailed as e:
        shutil.rmtree(complete)
        raise ModelLoadFailed(
            f"{remote.repo} was downloaded correctly, but is not a sound model: {e.message}", param="model"
        ) from e
    chats = folder.generates and "default" in tokenizer.chat_templates
    stored = StoredModel(
        name=remote.name,
        quant=remote.quant,
        path=complete,
        size=sum(part.size for part in parts),
        sha256=parts_digest(parts),
        repo=remote.repo,
        revision=remote.revision,
        file=remote.file,
        origin="hub",
        roles=("chat",) if chats else (),
        parts=tuple(parts),
    )
    return store.adopt_folder(complete, stored)


def _part(
    remote: RemoteFile, incoming: Path, complete: Path, connection: HubConnection, progress: Progress
) -> StoredPart:
    """Download one file, unless it is here."""
    content = FileContent(remote.size or 0, remote.sha256, remote.git_sha1)
    if not content.size or not content.digest:
        raise DownloadFailed(f"the hub gives no size or no hash of {remote.file}, so it cannot be verified")
    if complete.is_file() and content.sha256 and sha256_of(complete) == content.sha256:
        return StoredPart(remote.file, content.size, content.sha256)
    partial = incoming / f"{content.digest}.part"
    sha256 = Transfer(connection, remote, content, partial, progress).run()
    partial.replace(complete)
    return StoredPart(remote.file, content.size, sha256)
