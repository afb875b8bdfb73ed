"""A folder with safetensors of the user's own: it gets a name, is verified, and stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.errors import HashMismatch, ModelLoadFailed, StoreError
from edgeinfer.store.folder_import import external_folder, import_folder
from edgeinfer.store.model_copy import copy_model
from edgeinfer.store.store import Store
from tests.support.cli import run
from tests.support.tiny_qwen2 import write_tiny_qwen2


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_tiny_qwen2(tmp_path / "My Model", shards=2)
    (folder / "modeling_mine.py").write_text("raise SystemExit")
    return folder


def test_it_is_served_under_its_name_and_verified(store: Store, folder: Path) -> None:
    seen: list[int] = []
    stored = import_folder(store, external_folder(folder), progress=seen.append)
    assert ("my-model", "F32", folder, "import") == (stored.name, stored.quant, stored.path, stored.origin)
    assert stored.roles == ("chat",)
    assert sum(seen) == stored.size == external_folder(folder).size
    assert "modeling_mine.py" not in {part.file for part in stored.parts}
    found = store.find("my-model")
    assert found is not None
    assert found.path == folder
    assert store.verify(stored) is None
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("Ġthe", "Ġtha"))
    assert store.verify(stored) == "tokenizer.json: its content has changed: the sha256 differs"


def test_importing_it_again_changes_nothing(store: Store, folder: Path) -> None:
    first = import_folder(store, external_folder(folder))
    assert first == import_folder(store, external_folder(folder))
    named = import_folder(store, external_folder(folder), "mine")
    assert ["my-model", "mine"] == [one.name for one in store.installed()]
    assert named.path == folder


def test_another_model_keeps_its_name(store: Store, folder: Path, tmp_path: Path) -> None:
    import_folder(store, external_folder(folder))
    other = write_tiny_qwen2(tmp_path / "other/my-model", seed=2)
    with pytest.raises(StoreError, match="my-model:F32 is another model"):
        import_folder(store, external_folder(other))


def test_what_is_no_sound_model_is_refused(store: Store, folder: Path) -> None:
    weights = folder / "model-00001-of-00002.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelLoadFailed, match=weights.name):
        import_folder(store, external_folder(folder))
    assert store.recorded() == []


def test_a_snapshot_of_the_hub_has_its_repositorys_name(tmp_path: Path) -> None:
    """Its files are links to blobs."""
    model = write_tiny_qwen2(tmp_path / "blobs")
    snapshot = tmp_path / "models--Some--Tiny-Model/snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        (snapshot / path.name).symlink_to(path)
    store = Store(tmp_path / "store")
    stored = import_folder(store, external_folder(snapshot))
    assert stored.name == "tiny-model"
    assert store.verify(stored) is None


def test_removing_it_leaves_the_folder(store: Store, folder: Path) -> None:
    files = sorted(folder.iterdir())
    assert store.remove(import_folder(store, external_folder(folder))) == 0
    assert sorted(folder.iterdir()) == files


def test_a_copy_belongs_to_the_other_store(store: Store, folder: Path, tmp_path: Path) -> None:
    """Whole or not at all."""
    stored = import_folder(store, external_folder(folder))
    target = Store(tmp_path / "target")
    copied = copy_model(stored, target)
    assert (copied.origin, copied.sha256) == ("hub", stored.sha256)
    assert copied.path.is_relative_to(target.root)
    assert target.verify(copied) is None
    target.remove(copied)
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("silu", "gelu"))
    with pytest.raises(HashMismatch, match=r"config\.json is damaged"):
        copy_model(stored, target)
    assert [path for path in target.root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_the_command_names_it(tmp_path: Path, folder: Path) -> None:
    done = run(tmp_path, "models", "import", str(folder), "--name", "mine")
    assert (done.returncode, done.stdout) == (0, "mine:F32\n"), done.stderr
    assert "mine:F32" in run(tmp_path, "models", "verify").stdout
