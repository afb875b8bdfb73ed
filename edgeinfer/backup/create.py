"""Writes a backup: a tar file that is complete, or not there."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from edgeinfer import __version__
from edgeinfer.backup.daemon_files import DaemonFiles
from edgeinfer.backup.manifest import (
    CONFIG,
    FORMAT,
    KEYS,
    MANIFEST,
    MAX_FILE,
    NAME,
    BackupFile,
    Manifest,
    model_files,
)
from edgeinfer.errors import BackupError
from edgeinfer.store.disk import CHUNK, fsync_path
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.record import decode_record, encode_record
from edgeinfer.store.stored_model import StoredModel, open_model, part_of

SLACK = 8 << 20
"""Bytes for the manifest and the heads of files."""


def create_backup(
    path: Path,
    files: DaemonFiles,
    *,
    with_models: bool = False,
    progress: Callable[[StoredModel], Callable[[int], None]] = lambda _: lambda _: None,
) -> Manifest:
    """Write a backup to `path`, which only this user can read, and return what is in it.

    Models that the hub has are in it by their hash, unless `with_models` is set; others are copied. `progress` makes
    what is called with the size of each piece of a model that is copied.

    Raises:
        BackupError: a file cannot be read, or a model's file is not the one of its record.
        DiskFull: there is too little space for it.
    """
    contents = {name: (content, mtime) for name, content, mtime in _files(files)}
    models = files.store.installed()
    copied = [model for model in models if with_models or not is_published(model)]
    copied = list({model.sha256: model for model in copied}.values())
    try:
        check_free_space(path.parent, sum(model.size for model in copied) + SLACK)
        manifest = Manifest(
            FORMAT,
            __version__,
            time.time(),
            [
                BackupFile(name, len(content), hashlib.sha256(content).hexdigest(), mtime)
                for name, (content, mtime) in contents.items()
            ],
            [decode_record(encode_record(model)) for model in models],
            [model.sha256 for model in copied],
        )
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
                _add(archive, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
                for name, (content, _) in contents.items():
                    _add(archive, name, content)
                for model in copied:
                    _add_model(archive, model, progress(model))
            fsync_path(Path(temporary))
            Path(temporary).replace(path)
            fsync_path(path.parent)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise BackupError(f"{e.filename or path}: {e.strerror or e}") from e
    return manifest


def is_published(model: StoredModel) -> bool:
    """Tell whether the hub has a model's very file."""
    return model.origin == "hub" and not model.repo.startswith("local/")


def _files(files: DaemonFiles) -> Iterator[tuple[str, bytes, float]]:
    """Yield name, content and time of everything that is not a model."""
    named = [(CONFIG, files.config)]
    named += [(KEYS, files.keys)] if files.keys else []
    for kind, folder in files.responses.items():
        try:
            found = sorted(path.name for path in folder.iterdir())
        except OSError as e:
            if isinstance(e, FileNotFoundError | NotADirectoryError):
                continue
            raise BackupError(f"{folder}: {e.strerror}", hint="use sudo") from e
        named += [(f"responses/{kind}/{file}", folder / file) for file in found]
    for name, path in named:
        if not NAME.fullmatch(name):
            continue  # somebody else's, or one that is just being written
        try:
            with path.open("rb") as file:
                content, mtime = file.read(MAX_FILE + 1), os.fstat(file.fileno()).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as e:
            hint = "use sudo" if isinstance(e, PermissionError) else None
            raise BackupError(f"{path}: {e.strerror}", hint=hint) from e
        if len(content) > MAX_FILE:
            raise BackupError(f"{path} is larger than {MAX_FILE >> 20} MiB")
        yield name, content, mtime


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_head(name, len(content)), io.BytesIO(content))


def _head(name: str, size: int) -> tarfile.TarInfo:
    head = tarfile.TarInfo(name)
    head.size, head.mode = size, 0o600
    return head


def _add_model(archive: tarfile.TarFile, model: StoredModel, progress: Callable[[int], None]) -> None:
    for name, part in model_files(decode_record(encode_record(model))):
        stored = part_of(model, part) if model.parts else model
        with open_model(stored) as file:
            reader = _Hashed(file, progress)
            archive.addfile(_head(name, part.size), reader)
        if reader.digest.hexdigest() != part.sha256:
            title = f"{model.name}:{model.quant}"
            raise BackupError(
                f"the file of {title} is damaged: {stored.path}", hint=f"edgeinfer models verify {title}"
            )


class _Hashed:
    """Reads a file, and hashes what is read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._progress = progress

    def read(self, size: int = CHUNK) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        self._progress(len(piece))
        return piece
