"""For the tests of the store: a model of no use, and a store that has it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel

REPO = "owner/some-GGUF"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "f" * 40
DATA = b"GGUF" + bytes(3000)


def stored(data: bytes = DATA, **fields: Any) -> StoredModel:
    default = StoredModel(
        name="some",
        quant="Q4_0",
        path=Path("/nowhere"),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        repo=REPO,
        revision=COMMIT,
        file="some-Q4_0.gguf",
        origin="hub",
    )
    return StoredModel(
        **{name: fields.get(name, getattr(default, name)) for name in StoredModel.__struct_fields__}
    )


def adopt(store: Store, data: bytes = DATA, **fields: Any) -> StoredModel:
    partial = store.incoming(REPO, fields.get("revision", COMMIT)) / "partial"
    partial.write_bytes(data)
    return store.adopt(partial, stored(data, **fields))
