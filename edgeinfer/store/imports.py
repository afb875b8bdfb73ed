"""Imports model files that are on this machine already; they stay where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.errors import StoreError
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.store import external_stores
from edgeinfer.store.catalogue import ModelSpec, QuantFile, catalogue
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.external_stores import ExternalFile, Source
from edgeinfer.store.file_name import NAMELESS, name_from_file, quant_from_file, quant_label, slug
from edgeinfer.store.lookup import header_roles
from edgeinfer.store.store import LOCAL_OWNER, Store
from edgeinfer.store.stored_model import StoredModel
from edgeinfer.user_folders import expanded_path

FINDERS = {
    "hf": external_stores.hugging_face_cache,
    "ollama": external_stores.ollama_store,
    "lmstudio": external_stores.lm_studio_store,
}


def find_external_files(
    source: Source | None = None, environ: Mapping[str, str] = os.environ
) -> list[ExternalFile]:
    """Find the models of other programs, or of one of them; those in the catalogue get its names."""
    specs = catalogue()
    finders = [FINDERS[source]] if source else FINDERS.values()
    return [_with_catalogue_name(file, specs) for finder in finders for file in finder(environ)]


def external_file(path: Path) -> ExternalFile:
    """Describe a file of the user's own.

    Raises:
        StoreError: there is no such file.
    """
    path = expanded_path(path).resolve()
    if not path.is_file():
        raise StoreError(f"no such file: {path}", param="path")
    return ExternalFile(
        "file", path, name_from_file(path.name), path.stat().st_size, quant_from_file(path.name)
    )


def import_file(
    store: Store,
    file: ExternalFile,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> StoredModel:
    """Record a file in the store, under `name` or its own; a file that is recorded already stays as it is.

    A file of unknown hash is read, and `progress` is called with the size of each piece.

    Raises:
        ModelLoadFailed: it is not a valid GGUF file.
        StoreError: another model has the name.
    """
    if stored := recorded_import(store, file.path, name):
        return stored
    header = read_header(file.path)
    file = replace(
        file,
        sha256=file.sha256 or sha256_of(file.path, progress),
        quant=file.quant or header.file_type or quant_label(""),
    )
    if name is None:
        file = _with_catalogue_name(file, catalogue())
        name = _title(header) if NAMELESS.fullmatch(file.name) else file.name
    return record_import(store, _stored_model(file, name, header))


def recorded_import(store: Store, path: Path, name: str | None) -> StoredModel | None:
    """Return what is recorded of a file or folder, under `name` if one is given."""
    return next(
        (stored for stored in store.installed() if stored.path == path and name in (None, stored.name)), None
    )


def record_import(store: Store, model: StoredModel) -> StoredModel:
    """Record what stays where it is. Raises StoreError if another model has the name."""
    for other in store.installed():
        same_name = (other.name.lower(), other.quant) == (model.name.lower(), model.quant)
        if same_name and other.path != model.path:
            raise StoreError(
                f"{model.name}:{model.quant} is another model: {other.path}",
                param="name",
                hint=f"edgeinfer models import {model.path} --name ANOTHER",
            )
    return store.record(model)


def _stored_model(file: ExternalFile, name: str, header: Header) -> StoredModel:
    """Describe the imported file, under a repository of our own if that of the hub is unknown."""
    sha256, quant = file.sha256 or "", file.quant or ""
    place = (f"{LOCAL_OWNER}/{name}", sha256[:40], f"{name}-{quant}.gguf")
    if file.repo and file.revision and file.file:
        place = (file.repo, file.revision, file.file)
    roles = header_roles(header)
    return StoredModel(name, quant, file.path, header.size, sha256, *place, origin="import", roles=roles)


def _with_catalogue_name(file: ExternalFile, specs: Mapping[str, ModelSpec]) -> ExternalFile:
    """Give a file the catalogue's name and quantization, if the catalogue has this very file."""
    for name, spec in specs.items():
        for published in spec.files:
            if _same_file(file, published):
                return replace(file, name=name, quant=published.quant)
    return file


def _same_file(file: ExternalFile, published: QuantFile) -> bool:
    if file.sha256 and published.sha256:
        return file.sha256 == published.sha256
    if (file.repo or "").lower() != published.repo.lower():
        return False
    if file.file:
        return fnmatchcase(file.file.lower(), published.file.lower())
    return file.quant == published.quant


def _title(header: Header) -> str:
    return slug(str(header.metadata.get("general.name", "")))
