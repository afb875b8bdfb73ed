"""For the tests of the mirror: a store with models in it, and a mirror of it on a real socket."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from edgeinfer.hub.mirror import error_body
from edgeinfer.server.http.server import HTTPServer
from edgeinfer.server.http.sockets import address, bind
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel

REPO, FILE = "owner/some-GGUF", "some-Q4_0.gguf"
OLD, NEW = "a" * 40, "b" * 40


def model(seed: str, size: int = 300_000) -> bytes:
    """Something that begins as a model does, different for each seed."""
    block = hashlib.sha256(seed.encode()).digest()
    return b"GGUF" + (block * (size // len(block) + 1))[: size - 4]


def stored(data: bytes, **fields: Any) -> StoredModel:
    defaults: dict[str, Any] = {
        "name": "some",
        "quant": "Q4_0",
        "path": Path("/nowhere"),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "repo": REPO,
        "revision": NEW,
        "file": FILE,
        "origin": "hub",
    }
    return StoredModel(**defaults | fields)


def add(store: Store, data: bytes, **fields: Any) -> StoredModel:
    """Put a model in the store."""
    description = stored(data, **fields)
    partial = store.incoming(description.repo, description.revision) / "partial"
    partial.write_bytes(data)
    return store.adopt(partial, description)


@contextmanager
def serving(app: ASGIApp | HTTPServer) -> Iterator[str]:
    """The address of an app, or of a whole server, on a loopback port."""
    server = app if isinstance(app, HTTPServer) else HTTPServer(app, render_error=error_body, lifespan="off")
    sockets = bind(Settings(port=0))
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        yield address(sockets[0])
    finally:
        server.should_exit = True
        thread.join()
        for sock in sockets:
            sock.close()
