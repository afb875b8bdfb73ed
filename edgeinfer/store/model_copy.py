"""Copies models from another store, such as the one of a bundle or of a USB drive, and verifies them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from edgeinfer.errors import HashMismatch, StoreError
from edgeinfer.gguf.header import read_header
from edgeinfer.safetensors.folder import is_folder_file, read_folder
from edgeinfer.store.disk import CHUNK, as_store_errors
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, open_model, part_of


def is_store(folder: Path) -> bool:
    """Tell whether a folder is a store of edgeinfer."""
    return (folder / "records").is_dir()


def copy_model(
    stored: StoredModel, target: Store, progress: Callable[[int], None] | None = None
) -> StoredModel:
    """Copy a model of another store into `target`; one that is there already stays as it is.

    `progress` is called with the size of each piece copied. Nothing of a copy that fails is left.

    Raises:
        StoreError: another model has the name, or a file cannot be read or written.
        DiskFull: there is too little space for it.
        HashMismatch: the file is not the one of its record.
        ModelLoadFailed: it is not a valid GGUF file, or no sound model in safetensors.
    """
    present = target.find(stored.name, stored.quant)
    if present and present.sha256 == stored.sha256:
        return present
    if present and present.repo != stored.repo:
        title = f"{stored.name}:{stored.quant}"
        raise StoreError(f"{title} is another model here", hint=f"edgeinfer models rm {title}")
    folder = target.incoming(stored.repo, stored.revision)
    check_free_space(folder, stored.size)
    partial = folder / f"{stored.sha256}.copy"
    # The copy is the store's own, even if the original was not its store's.
    adopted = replace(stored, origin="hub" if stored.origin == "import" else stored.origin)
    with target.lock(stored.sha256):
        try:
            if not stored.parts:
                _copy_file(stored, partial, progress)
                read_header(partial)
                return target.adopt(partial, adopted)
            with as_store_errors(str(partial)):
                partial.mkdir(exist_ok=True)
            for part in stored.parts:
                if not is_folder_file(part.file):
                    raise StoreError(f"{part.file!r} is no file of a model in safetensors")
                _copy_file(part_of(stored, part), partial / part.file, progress)
            read_folder(partial)
            return target.adopt_folder(partial, adopted)
        finally:
            with as_store_errors(str(partial)):
                if partial.is_dir():
                    shutil.rmtree(partial)
                partial.unlink(missing_ok=True)


def _copy_file(stored: StoredModel, path: Path, progress: Callable[[int], None] | None) -> None:
    with as_store_errors(str(stored.path)), open_model(stored) as file:
        digest = _copy(file, path, progress)
    if digest != stored.sha256:
        raise HashMismatch(
            f"{stored.path} is damaged: its sha256 is {digest}, not {stored.sha256}", hint="copy it again"
        )


def _copy(file: BinaryIO, path: Path, progress: Callable[[int], None] | None) -> str:
    """Write a file to `path`; return its sha256."""
    digest = hashlib.sha256()
    with path.open("wb") as copy:
        while piece := file.read(CHUNK):
            digest.update(piece)
            copy.write(piece)
            if progress:
                progress(len(piece))
    return digest.hexdigest()
