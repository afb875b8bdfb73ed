"""A server looks up installed models without reading their records at every request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.store.index import StoreIndex
from edgeinfer.store.lookup import installed_model
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support.stored import DATA, adopt


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def settle(store: Store) -> None:
    """Pretend that the last change was long ago."""
    version = store.version()
    assert version
    os.utime(store.root / "records", ns=(version, version - 10**10))


def reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An entry for each time that all records are read."""
    counted = list[None]()
    recorded = store.recorded

    def read() -> list[StoredModel]:
        counted.append(None)
        return recorded()

    monkeypatch.setattr(store, "recorded", read)
    return counted


def test_it_finds_what_the_store_finds(store: Store) -> None:
    """By name, in any case, with or without a quantization, and by the catalogue's aliases."""
    adopt(store, name="some", quant="Q4_0", file="a.gguf")
    adopt(store, name="some", quant="Q8_0", file="b.gguf")
    adopt(store, name="qwen3-0.6b", quant="Q4_K_M", file="c.gguf")
    index = StoreIndex(store)
    for name in ("some", "SOME", "qwen3-0.6b", "Qwen3-0.6B", "other", "", "../some", "x" * 10000, "\0"):
        for quant in (None, "Q4_0", "q8_0", "Q4_K_M", "F16"):
            assert installed_model(name, quant, store) == index.find(name, quant)
    assert store.installed() == index.installed()


def test_aliases_are_the_catalogue_s(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that is broken has none."""
    entry = """
[mine]
description = "mine"
licence = "mit"
context = 512
roles = ["chat"]
aliases = ["Other-Name"]
repo = "owner/mine"
files.Q4_0 = { file = "mine.gguf" }
"""
    (tmp_path / "edgeinfer").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    adopt(store, name="mine", quant="Q4_0")
    (tmp_path / "edgeinfer" / "models.toml").write_text(entry)
    assert (mine := StoreIndex(store).find("other-NAME"))
    assert "mine" == mine.name
    (tmp_path / "edgeinfer" / "models.toml").write_text("[")
    assert StoreIndex(store).find("other-name") is None
    assert mine == StoreIndex(store).find("mine")


def test_records_are_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the store does not change."""
    adopt(store)
    settle(store)
    counted, index = reads(store, monkeypatch), StoreIndex(store)
    for _ in range(5):
        assert index.find("some")
        assert index.find("nothing") is None
        assert index.installed()
    assert 1 == len(counted)


def test_a_change_counts_at_once(store: Store) -> None:
    """Also one that comes so soon after another that their times are the same."""
    index = StoreIndex(store)
    assert [] == index.installed()
    first = adopt(store)
    assert [first] == index.installed()
    time = store.version()
    assert time
    second = adopt(store, DATA + b"!", quant="Q8_0", file="b.gguf")
    os.utime(store.root / "records", ns=(time, time))
    assert [first, second] == index.installed()
    settle(store)
    assert second == index.find("some")
    store.remove(second)
    assert first == index.find("some")


def test_a_file_that_is_gone_counts_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although its record is still there."""
    stored = adopt(store)
    settle(store)
    counted, index = reads(store, monkeypatch), StoreIndex(store)
    assert index.find("some")
    stored.path.unlink()
    assert (None, []) == (index.find("some"), index.installed())
    assert 1 == len(counted)


def test_no_store_is_no_error(store: Store) -> None:
    """It need not exist yet."""
    assert (None, []) == (StoreIndex(store).find("some"), StoreIndex(store).installed())
