"""A model in safetensors on its way: from a store through a mirror into another store, with the real client."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from edgeinfer.errors import HashMismatch, ModelLoadFailed, Offline
from edgeinfer.hub.download import download
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.ensure_installed import available_files, ensure_installed
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.hub.reference import parse_reference
from edgeinfer.safetensors.folder import read_folder
from edgeinfer.store.lookup import find_model
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, StoredPart, model_problem, parts_digest
from tests.support.hub import HURRY, Notes
from tests.support.mirror import add, serving
from tests.support.tiny_qwen2 import write_tiny_qwen2

REPO, COMMIT = "owner/Tiny-Qwen2", "c" * 40


def install(store: Store, source: Path, repo: str = REPO, name: str = "tiny-qwen2") -> StoredModel:
    """Put a folder's files into the store, as if they had been downloaded."""
    files = sorted(path for path in source.iterdir() if path.is_file())
    parts = tuple(
        StoredPart(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
    )
    stored = StoredModel(
        name=name,
        quant="F32",
        path=source,
        size=sum(part.size for part in parts),
        sha256=parts_digest(parts),
        repo=repo,
        revision=COMMIT,
        file="config.json",
        origin="hub",
        roles=("chat",),
        parts=parts,
    )
    return store.adopt_folder(source, stored)


@pytest.fixture
def published(tmp_path: Path) -> Store:
    store = Store(tmp_path / "published")
    install(store, write_tiny_qwen2(tmp_path / "source", shards=2))
    return store


@pytest.fixture
def hub(published: Store) -> Iterator[Endpoint]:
    with serving(mirror_app(published)) as url:
        yield Endpoint(url, None, retry_policy=HURRY)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "own")


def offered(hub: Endpoint) -> RemoteFile:
    (file,) = available_files(parse_reference(REPO), hub=hub)
    return file


def test_a_folder_comes_through_the_mirror_whole(published: Store, store: Store, hub: Endpoint) -> None:
    """Under the repository's name, with the same files and the same hash."""
    stored = ensure_installed([offered(hub)], offered(hub).quant, store, hub=hub)
    (original,) = published.installed()
    assert ("tiny-qwen2", original.sha256, original.parts) == (stored.name, stored.sha256, stored.parts)
    assert ("chat",) == stored.roles
    assert store.verify(stored) is None
    assert read_folder(stored.path).parameters == read_folder(original.path).parameters
    assert not [path for path in (store.root / "incoming").rglob("*") if path.is_file()]
    assert stored == ensure_installed([offered(hub)], stored.quant, store, hub=hub)  # it is there


def test_the_hubs_own_client_gets_it_too(hub: Endpoint, tmp_path: Path) -> None:
    """The mirror is a hub for anybody."""
    path = Path(snapshot_download(REPO, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False))
    assert read_folder(path).layers == 2


def test_a_download_goes_on_where_it_was(published: Store, store: Store, hub: Endpoint) -> None:
    """Files that have arrived are not fetched again."""
    remote = offered(hub)
    (original,) = published.installed()
    complete = store.incoming(remote.repo, remote.revision) / "complete"
    complete.mkdir()
    first = next(part for part in remote.parts if part.file.endswith(".safetensors"))
    (complete / first.file).write_bytes((original.path / first.file).read_bytes())
    notes = Notes()
    assert original.sha256 == download(remote, store, notes, hub=hub).sha256
    assert len(remote.parts) - 1 == len(notes.begun)


def test_a_wrong_file_is_not_installed(published: Store, store: Store, hub: Endpoint) -> None:
    """Its hash is the hub's, but its content is not what it says."""
    remote = offered(hub)
    (original,) = published.installed()
    weights = original.path / remote.parts[-1].file
    size = weights.stat().st_size
    weights.write_bytes(bytes(size))
    with pytest.raises(HashMismatch):
        download(remote, store, hub=hub)
    assert not store.recorded()


def test_hostile_weights_with_the_right_hash_are_not_installed(tmp_path: Path, store: Store) -> None:
    """The hub may be the attacker."""
    source = write_tiny_qwen2(tmp_path / "source")
    weights = source / "model.safetensors"
    weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])
    published = Store(tmp_path / "published")
    install(published, source)
    with serving(mirror_app(published)) as url:
        hub = Endpoint(url, None, retry_policy=HURRY)
        with pytest.raises(ModelLoadFailed, match="is not a sound model"):
            download(offered(hub), store, hub=hub)
    assert not store.recorded()
    assert not list((store.root / "incoming").rglob("*.safetensors"))


def test_code_and_pickles_are_not_downloaded(tmp_path: Path, store: Store) -> None:
    """Only what a model needs is listed."""
    source = write_tiny_qwen2(tmp_path / "source")
    for name in ("pytorch_model.bin", "modeling_tiny.py", "model.pt"):
        (source / name).write_bytes(b"x")
    published = Store(tmp_path / "published")
    install(published, source)
    with serving(mirror_app(published)) as url:
        remote = offered(Endpoint(url, None, retry_policy=HURRY))
        names = {part.file for part in remote.parts}
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= names
    assert not names & {"pytorch_model.bin", "modeling_tiny.py", "model.pt"}


def test_a_name_means_the_gguf_file_unless_vllm_is_asked_for(tmp_path: Path) -> None:
    """Both formats may be installed under one name."""
    store = Store(tmp_path / "own")
    folder = install(store, write_tiny_qwen2(tmp_path / "source"), name="both")
    assert str(folder.path) == find_model("both", store).path
    gguf = Path("edgeinfer/bundled/edgeinfer-nano.gguf").read_bytes()
    file = add(store, gguf, name="both", quant="Q8_0")
    install(store, write_tiny_qwen2(tmp_path / "newer"), name="both")
    assert str(file.path) == find_model("both", store).path
    assert folder.path == Path(find_model("both", store, in_safetensors=True).path)
    assert folder.path == Path(find_model("both:F32", store).path)


def test_a_damaged_folder_is_named_and_removed(tmp_path: Path) -> None:
    """Each file is looked at; removing it frees them all."""
    store = Store(tmp_path / "own")
    stored = install(store, write_tiny_qwen2(tmp_path / "source"))
    weights = stored.path / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + b"x")
    assert "model.safetensors" in (store.verify(stored) or "")
    weights.unlink()
    assert "model.safetensors: its file is missing" == model_problem(stored)
    assert not store.installed()
    assert store.leftovers() == 0
    assert store.remove(stored) == stored.size - len(data)
    assert not list((store.root / "models").rglob("*.json"))


def test_pruning_keeps_all_files_of_a_folder(tmp_path: Path) -> None:
    """And frees what has no record."""
    store = Store(tmp_path / "own")
    stored = install(store, write_tiny_qwen2(tmp_path / "source"))
    (stored.path / "stray").write_bytes(b"abc")
    assert store.prune() == 3
    assert store.verify(stored) is None


def test_offline_says_what_is_missing(store: Store, tmp_path: Path) -> None:
    """The catalogue knows where it would come from."""
    hub = Endpoint("http://127.0.0.1:9", None, offline=True)
    files = available_files(parse_reference("deepseek-r1-distill-qwen-1.5b"), hub=hub)
    with pytest.raises(Offline, match=r"deepseek-ai/DeepSeek-R1-Distill-Qwen-1\.5B"):
        ensure_installed(files, "BF16", store, hub=hub)
