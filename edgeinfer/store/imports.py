"""Making a model of a file that is here already: it is noted in the store, and stays where it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec.structs import replace

from edgeinfer.errors import StoreError
from edgeinfer.gguf.file_types import FILE_TYPES
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.store import external_stores as foreign
from edgeinfer.store.catalogue import ModelSpec, QuantFile, catalogue
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.external_stores import ExternalFile, Source
from edgeinfer.store.file_name import NAMELESS, name_from_file, quant_from_file, quant_label, slug
from edgeinfer.store.lookup import header_roles
from edgeinfer.store.store import LOCAL_OWNER, Store, StoredModel

FINDERS = {
    "hf": foreign.hugging_face_cache,
    "ollama": foreign.ollama_store,
    "lmstudio": foreign.lm_studio_store,
}


def find_external_files(
    source: Source | None = None, environ: Mapping[str, str] = os.environ
) -> list[ExternalFile]:
    """The models of the other programs, or of one of them; under the catalogue's names, if it has them."""
    known = catalogue()
    finders = [FINDERS[source]] if source else FINDERS.values()
    return [_named(found, known) for finder in finders for found in finder(environ)]


def external_file(path: Path) -> ExternalFile:
    """A file of the user's own.

    Raises:
        StoreError: there is no such file.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise StoreError(f"no such file: {path}", param="path")
    return ExternalFile(
        "file", path, name_from_file(path.name), path.stat().st_size, quant_from_file(path.name)
    )


def import_file(
    store: Store, found: ExternalFile, name: str | None = None, progress: Callable[[int], None] | None = None
) -> StoredModel:
    """Note a file in the store, under `name` or its own; what has been noted already stays as it is.

    A file whose hash nobody has told is read: `progress` is told of every piece how many bytes it had.

    Raises:
        ModelLoadFailed: it is no sound GGUF file.
        StoreError: another model has the name.
    """
    installed = store.installed()
    for stored in installed:
        if stored.path == found.path and name in (None, stored.name):
            return stored
    header = read_header(found.path)
    found = replace(
        found,
        sha256=found.sha256 or sha256_of(found.path, progress),
        quant=found.quant or FILE_TYPES.get(_file_type(header)) or quant_label(""),
    )
    if name is None:
        found = _named(found, catalogue())
        name = _title(header) if NAMELESS.fullmatch(found.name) else found.name
    stored = _stored(found, name, header)
    for other in installed:
        if (other.name.lower(), other.quant) == (name.lower(), stored.quant) and other.path != stored.path:
            raise StoreError(
                f"{name}:{stored.quant} is another model: {other.path}",
                param="name",
                hint=f"edgeinfer models import {found.path} --name ANOTHER",
            )
    return store.record(stored)


def _stored(found: ExternalFile, name: str, header: Header) -> StoredModel:
    """Under the repository, commit and path of the hub where they are known, else under ones of our own."""
    sha256, quant = found.sha256 or "", found.quant or ""
    place = (f"{LOCAL_OWNER}/{name}", sha256[:40], f"{name}-{quant}.gguf")
    if found.repo and found.revision and found.file:
        place = (found.repo, found.revision, found.file)
    return StoredModel(
        name, quant, found.path, header.size, sha256, *place, origin="import", roles=header_roles(header)
    )


def _named(found: ExternalFile, known: Mapping[str, ModelSpec]) -> ExternalFile:
    """With the catalogue's name and quantization, where it knows this very file."""
    for name, spec in known.items():
        for file in spec.files:
            if _is(found, file):
                return replace(found, name=name, quant=file.quant)
    return found


def _is(found: ExternalFile, file: QuantFile) -> bool:
    if found.sha256 and file.sha256:
        return found.sha256 == file.sha256
    if (found.repo or "").lower() != file.repo.lower():
        return False
    if found.file:
        return fnmatchcase(found.file.lower(), file.file.lower())
    return found.quant == file.quant


def _title(header: Header) -> str:
    return slug(str(header.metadata.get("general.name", "")))


def _file_type(header: Header) -> int:
    value = header.metadata.get("general.file_type")
    return value if type(value) is int else -1
