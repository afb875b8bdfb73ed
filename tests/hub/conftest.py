"""A hub with the bundled model, and an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.store.store import Store
from tests.support.faulty_hub import FaultyHub, serving
from tests.support.hub import FILE


@pytest.fixture(scope="module")
def content(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture
def hub(content: bytes) -> Iterator[FaultyHub]:
    with serving(FaultyHub({FILE: content})) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
