"""The daemon downloads models in a process of its own, from a real hub on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from edgeinfer.errors import EdgeinferError, InvalidRequest, ModelNotFound, StoreError
from edgeinfer.server.pull_process import PullProcess
from edgeinfer.serving.downloads import ModelDownloads, PullProgress
from edgeinfer.store.store import Store
from tests.support.faulty_hub import REPO, FaultyHub, serving, stall

FILE = "Nano-Q8_0.gguf"


@pytest.fixture
def hub(model_file: Path) -> Iterator[FaultyHub]:
    with serving(FaultyHub({FILE: model_file.read_bytes()})) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path, hub: FaultyHub, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Empty; the daemon's environment names the hub."""
    for name in [name for name in os.environ if name.startswith(("EDGEINFER_", "HF_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return Store(tmp_path / "store")


async def pulled(store: Store, name: str) -> list[PullProgress]:
    return [step async for step in ModelDownloads(PullProcess(lambda: store)).follow(name)]


async def test_a_model_is_downloaded_and_verified(store: Store, hub: FaultyHub) -> None:
    """The steps tell its hash and its size, as the hub has announced them."""
    steps = await pulled(store, f"hf.co/{REPO}:Q8_0")
    (stored,) = store.installed()
    assert hub.sha256(FILE) == stored.sha256
    done = [step for step in steps if step.completed == step.total == stored.size]
    assert {stored.sha256} == {step.sha256 for step in done}


async def test_errors_of_the_process_are_those_of_the_command(store: Store) -> None:
    """With their class, and so with their status."""
    with pytest.raises(ModelNotFound):
        await pulled(store, "no-such-model-anywhere")
    assert [] == store.recorded()


async def test_a_cancelled_download_leaves_what_it_has(store: Store, hub: FaultyHub) -> None:
    """And no process that goes on. The next one continues there."""
    gone = threading.Event()
    hub.faults = [stall(0.5, gone)]
    downloads = ModelDownloads(PullProcess(lambda: store))
    async with aclosing(downloads.follow(REPO)) as steps:
        async for step in steps:
            if step.completed:
                break
    await downloads.close()
    gone.set()
    assert ([], []) == (downloads.running(), store.recorded())
    await pulled(store, REPO)
    assert 1 == len(store.installed())
    assert any("range" in request.headers for request in hub.file_requests)


@pytest.mark.parametrize(
    "name", ["", " ", "--help", "-x", "a" * 500, "a\nb", "../../etc/passwd", "/etc/passwd"]
)
async def test_names_that_are_none_are_refused(store: Store, name: str) -> None:
    """None is taken for an option or a path."""
    with pytest.raises(InvalidRequest):
        await pulled(store, name)


@pytest.mark.usefixtures("store")
async def test_a_store_that_may_only_be_read_is_said() -> None:
    """Without a process, and with the command to run instead."""
    folder = Store(Path("/proc/none"))  # where not even root can make files
    with pytest.raises(StoreError, match="may not write") as caught:
        await pulled(folder, "qwen3-0.6b")
    assert isinstance(caught.value, EdgeinferError)
    assert "edgeinfer pull" in (caught.value.hint or "")
