"""For the tests of downloads: what is fetched, by somebody in a hurry, and what must hold afterwards."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edgeinfer.hub.endpoint import Endpoint, RetryPolicy
from edgeinfer.hub.hub_index import RemoteFile, repo_files
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support.faulty_hub import REPO, FaultyHub

FILE = "Nano-Q8_0.gguf"
SECRET = "hf_averysecrettoken"
IN_FLIGHT = 1 << 18
"""Bytes that a socket takes before the other end has hung up."""

HURRY = RetryPolicy(read_timeout=0.5, max_attempts=3, backoff=0.01, max_backoff=0.05, max_retry_after=3)


class Notes:
    """What a person would have seen."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun: list[tuple[int, int]] = []
        self.ended = 0

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.begun.append((total, done))

    def update(self, done: int) -> None:
        pass

    def message(self, text: str) -> None:
        self.notes.append(text)

    def end(self) -> None:
        self.ended += 1


def at(hub: FaultyHub, token: str | None = SECRET) -> Endpoint:
    return Endpoint(hub.url, token, retry_policy=HURRY)


def offered(hub: FaultyHub, file: str = FILE) -> RemoteFile:
    return replace(repo_files(REPO, file=file, hub=at(hub))[0], name="nano")


def is_sound(stored: StoredModel, store: Store, content: bytes) -> bool:
    """The model is in the store with the right content, and nothing is left of how it got there."""
    left = [path for path in (store.root / "incoming").rglob("*") if path.is_file()]
    return stored.path.read_bytes() == content and store.installed() == [stored] and not left


def partials(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*.part") if path.is_file()]


def nothing_bad(store: Store) -> bool:
    """No model, and no file where models lie."""
    return store.recorded() == [] and not [p for p in (store.root / "models").rglob("*") if p.is_file()]
