"""Encodes and decodes the record of a stored model, a small JSON file."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgeinfer.errors import StoreError
from edgeinfer.store.stored_model import Origin, StoredModel, StoredPart
from edgeinfer.store.untrusted_json import decode_json


class ModelRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of a record file; it has a path for imports only, so that the store can be moved."""

    name: str
    quant: str
    size: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    repo: str
    revision: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")]
    file: str
    origin: Origin
    added: Annotated[float, Meta(ge=0, le=1e11)]
    path: str | None = None
    mtime_ns: int | None = None
    roles: tuple[str, ...] | None = None
    parts: tuple[StoredPart, ...] = ()


def decode_record(data: bytes) -> ModelRecord:
    """Decode a record file; raise ValueError if it is not one."""
    return decode_json(data, ModelRecord)


def encode_record(stored: StoredModel) -> bytes:
    """Encode the record of a model.

    Raises:
        StoreError: one of its values is not allowed in a record.
    """
    fields = msgspec.structs.asdict(stored)
    fields["path"] = str(stored.path) if stored.origin == "import" else None
    try:
        return msgspec.json.format(msgspec.json.encode(msgspec.convert(fields, ModelRecord))) + b"\n"
    except (msgspec.ValidationError, UnicodeEncodeError) as e:
        raise StoreError(f"{stored.name}:{stored.quant}: {e}") from e
