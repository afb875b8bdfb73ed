"""Imports a model in safetensors that is on this machine already; its folder stays where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeinfer.safetensors.folder import CONFIG, model_files, read_folder, read_tokenizer
from edgeinfer.store.disk import as_store_errors, sha256_of
from edgeinfer.store.external_stores import ExternalFile
from edgeinfer.store.file_name import slug
from edgeinfer.store.imports import record_import, recorded_import
from edgeinfer.store.store import LOCAL_OWNER, Store
from edgeinfer.store.stored_model import StoredModel, StoredPart, parts_digest
from edgeinfer.user_folders import expanded_path

SNAPSHOTS = "snapshots"
REPOSITORY = "models--"


def external_folder(path: Path) -> ExternalFile:
    """Describe a model's folder of the user's own, without reading its weights.

    A snapshot in Hugging Face's cache gets the name of its repository.
    """
    path = expanded_path(path).resolve()
    named = path
    if path.parent.name == SNAPSHOTS and path.parent.parent.name.startswith(REPOSITORY):
        named = Path(path.parent.parent.name.rpartition("--")[2])
    size = sum((path / file).stat().st_size for file in _files(path))
    return ExternalFile("file", path, slug(named.name), size)


def import_folder(
    store: Store,
    folder: ExternalFile,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> StoredModel:
    """Record a folder in the store, under `name` or its own; one that is recorded already stays as it is.

    `progress` is called with the size of each piece read.

    Raises:
        ModelLoadFailed: it is no sound model.
        StoreError: another model has the name, or a file cannot be read.
    """
    if stored := recorded_import(store, folder.path, name):
        return stored
    model, tokenizer = read_folder(folder.path), read_tokenizer(folder.path)
    with as_store_errors(str(folder.path)):
        parts = tuple(
            StoredPart(file, (folder.path / file).stat().st_size, sha256_of(folder.path / file, progress))
            for file in _files(folder.path)
        )
    name, digest = name or folder.name, parts_digest(parts)
    return record_import(
        store,
        StoredModel(
            name=name,
            quant=model.dtype,
            path=folder.path,
            size=sum(part.size for part in parts),
            sha256=digest,
            repo=f"{LOCAL_OWNER}/{name}",
            revision=digest[:40],
            file=CONFIG,
            origin="import",
            roles=("chat",) if model.generates and "default" in tokenizer.chat_templates else (),
            parts=parts,
        ),
    )


def _files(folder: Path) -> list[str]:
    """The names of the files that belong to the model, which are all that is ever read."""
    with as_store_errors(str(folder)):
        return model_files(path.name for path in folder.iterdir() if path.is_file())
