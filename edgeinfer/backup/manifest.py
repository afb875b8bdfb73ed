"""The table of contents of a backup: everything that is in it, with size and hash."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from edgeinfer.errors import BackupError
from edgeinfer.safetensors.folder import is_folder_file
from edgeinfer.store.record import ModelRecord
from edgeinfer.store.stored_model import StoredPart

FORMAT = 1

MANIFEST = "manifest.json"
"""Its name; it is the first file of a backup."""

MAX_MANIFEST = 16 << 20
MAX_FILE = 64 << 20
"""Bytes of a file that is not a model."""

MAX_FILES = 100_000

CONFIG, KEYS = "config.toml", "keys"

NAME = re.compile(r"config\.toml|keys|responses/(own|system)/[A-Za-z0-9_.-]{1,240}\.json")
"""Names that files of a backup have; where they belong is for the machine to say that restores them."""

Size = Annotated[int, Meta(ge=0, le=MAX_FILE)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class BackupFile(msgspec.Struct, frozen=True):
    """A file of settings, keys or responses.

    Attributes:
        mtime: seconds since 1970: responses are kept for some time.
    """

    name: str
    size: Size
    sha256: Sha256
    mtime: Annotated[float, Meta(ge=0, le=1e11)]


class Manifest(msgspec.Struct, frozen=True):
    """What is in a backup.

    Attributes:
        version: of the edgeinfer that wrote it.
        created: seconds since 1970.
        models: records of all models.
        copied: hashes of those whose files are in the backup; the others come from the hub.
    """

    format: int
    version: str
    created: float
    files: list[BackupFile]
    models: list[ModelRecord]
    copied: list[Sha256]


def model_files(model: ModelRecord) -> list[tuple[str, StoredPart]]:
    """List the files of a model, each with its name in a backup.

    Raises:
        BackupError: it names a file that no model in safetensors has.
    """
    if not model.parts:
        return [(f"models/{model.sha256}.gguf", StoredPart(model.file, model.size, model.sha256))]
    for part in model.parts:
        if not is_folder_file(part.file):
            raise BackupError(f"{model.name}:{model.quant} names {part.file!r}, which no model has")
    return [(f"models/{model.sha256}/{part.file}", part) for part in model.parts]


def decode_manifest(data: bytes) -> Manifest:
    """Decode and check a manifest.

    Raises:
        BackupError: it is damaged, or not one that this version can read.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BackupError(f"the backup's {MANIFEST} is damaged: {e}") from e
    if manifest.format != FORMAT:
        raise BackupError(
            f"the backup has format {manifest.format}, and this version reads {FORMAT}",
            hint=f"use edgeinfer {manifest.version}",
        )
    names = [file.name for file in manifest.files]
    if len(names) > MAX_FILES or len(set(names)) < len(names):
        raise BackupError(f"the backup's {MANIFEST} names too many files, or one twice")
    for name in names:
        if not NAME.fullmatch(name):
            raise BackupError(f"the backup names {name!r}, which no backup has")
    hashes = {record.sha256 for record in manifest.models}
    if not hashes.issuperset(manifest.copied):
        raise BackupError(f"the backup's {MANIFEST} names files of models that it does not list")
    return manifest
